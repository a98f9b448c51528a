"""Two runs against each other: what differs, in words; pure.

`profile` is a run as facts without anything volatile, its sockets in `groups`; `comparison` holds
two of them against each other, `measure` by measure. `phases` does so at the end of each phase,
`runs` for the same scenarios on two Envoys; `bisection` finds where one begins to differ. For
people and as JSON: `diff_text`, `aspect_text`, `diff_json`, `runs_text`; `plan_text` and `picture`
show what a change of a config does.

`survey` does it for many runs at once; `survey_text` and `survey_json` show that.
"""
