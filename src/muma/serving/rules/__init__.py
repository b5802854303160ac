"""The editors' rules: what may be shown, what must be, how much of what; nothing bypasses them."""
