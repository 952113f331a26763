"""The AWS account: inventory, clean-up and IAM policies."""
