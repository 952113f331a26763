"""Self-contained HTML pages: one shell with light and dark colours, and charts drawn as inline SVG."""
