"""The words of the expectation language: each module is one, with all that is known of it."""
