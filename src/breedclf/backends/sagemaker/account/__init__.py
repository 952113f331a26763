"""The AWS account: inventory, clean-up, IAM policies, prices."""
