"""What a run did, without what differs from one run to the next, held against what is stored.

`story` reduces a run to facts and finds what differs, `stored` is the file of a scenario's
baselines, and `answer` says what came of holding a run against it. All of it is pure: the files are
read and written by `envoyassert.outputs.baselines`.
"""

#: What the name of a file of baselines ends with; none of them is taken for a scenario.
SUFFIX = ".baseline.yaml"
