"""Envoys that something else starts: which are meant, where they live, and their traces.

`selection` says which are meant, `arguments` what their command lines say, `place` where they live.
`traces` says when one has settled, and joins those of a hot restart.
"""
