"""Two runs against each other: what differs, in words; pure.

`profile` is a run as facts without anything volatile, its sockets in `groups`; `comparison` holds
two of them against each other, `measure` by measure. `runs` does so for the same scenarios on two
Envoys, and at the end of each phase, and finds where one begins to differ. `diff_text` shows it, by
`aspect_text`, to people and as JSON; `plan_text` shows what a change of a config does, with a
picture.

`survey` does it for many runs at once; `survey_text` shows that.
"""
