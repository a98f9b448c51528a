"""What envoyassert costs, against a commit before and against its peers: `make bench`.

`lines/` measures the lines of the table and has their registry. `row.py` is what a line yields,
`table.py` and `page.py` how that is shown. `builds.py` has the two states that are compared,
`processes.py` runs commands and takes their figures, `session.py` is what a line is given.
`work/` are scripts that the Python of either state runs. `peers.py` has strace and bpftrace,
`profile.py` where the time of one run is spent.
"""
