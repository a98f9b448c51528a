"""What a session prints and writes: outputs, which are handlers of one stream of session events.

`events` are the events, `output` is the base class of the handlers, `registry` the list of them; a
further one is a module here with its entry there. `stream` hands the events out and guards each
handler. Nothing here knows pytest: the plugin makes the events of what it sees
(`envoyassert.pytest_plugin.source`).
"""
