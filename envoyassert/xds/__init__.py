"""Control planes: what gives listeners to a running Envoy, by file or by gRPC; an edge.

`opening` opens the `control_plane` of a plan. By gRPC it is a `server`, whose streams send
`resources`.
"""
