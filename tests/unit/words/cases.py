"""What the words are tried on, as their modules say, and what is refused of other words."""

from __future__ import annotations

from envoyassert.scenario.reference import ITEMS, PARTS
from envoyassert.words.registry import WORDS
from envoyassert.words.word import Example, Part

#: By model and key: an example, and the model as a part of the language.
EXAMPLES: dict[str, tuple[Example, Part]] = {
    f"{part.model.__name__}.{key}": (example, part)
    for part in (*ITEMS, *PARTS)
    for key, example in part.examples.items()
}
#: By model and key: the trace on which the example holds, and the one on which it does not.
CASES = {word: (example.holds, example.fails) for word, (example, _) in EXAMPLES.items()}
#: Those that `during` may limit to a phase.
DURING = [word for word, (example, _) in EXAMPLES.items() if example.during]
#: The keys of the item of each word, by what the word is about.
ABOUT = {
    f"{word.model.__name__}.{key}": word.about for word in WORDS.values() for key in word.examples
}


#: What an expectation may carry besides what it expects; judged on the cases of each subject.
CARRIED = ("when", "why", "known_defect", "during", "at_end_of", "envoy")


#: By model and key: a value that is refused, where a list in a list would not show much.
REFUSED: dict[str, str] = {
    "Scenario.name": "name: Reuse-Port",
    "Scenario.description": "description: 1",
    "Scenario.requires": "requires: linux",
    "Scenario.marks": "marks: [two words]",
    "Scenario.timeout": "timeout: 0s",
    "Scenario.assume": "assume: [nothing]",
    "Scenario.matrix": "matrix: {concurrency: []}",
    "Scenario.envoy": "envoy: {}",
    "Scenario.expect": "expect: []",
    "Requires.envoy": 'envoy: "1.20"',
    "Requires.kernel": 'kernel: "5.15"',
    "Requires.launcher": "launcher: podman",
    "KnownDefect.versions": "versions: 1.40",
    "KnownDefect.owner": 'owner: ""',
    "KnownDefect.upstream": "upstream: somewhere",
    "KnownDefect.what": 'what: ""',
    "Envoy.version": "version: latest",
    "Envoy.image": "image: 1",
    "Envoy.binary": "binary: 1",
    "Envoy.pull": "pull: sometimes",
    "Envoy.concurrency": "concurrency: -1",
    "Envoy.config": "config: 1",
    "Envoy.overlay": "overlay: text",
    "Envoy.files": "files: {../lds.yaml: text}",
    "Envoy.args": "args: --log-level",
    "Envoy.agent": "agent: /usr/local/bin/pilot-agent",
    "Envoy.netns": "netns: [Blue]",
    "Envoy.env": "env: {A: 1}",
    "Envoy.deadline": "deadline: soon",
}
