"""What a `listener` expectation may say of its listener: each module is one word."""
