"""What a reviewer of a change reads: what the model says of it, by each way; pure.

`words` has the words for effects, and `answer` has them in rows. `text`, `markdown` and `data` are
its forms.
"""
