from envoyassert.errors import Problem
from envoyassert.report.github_text import (
    Annotation,
    Entry,
    in_repository,
    inline,
    job_summary,
    problem_annotations,
    workflow_command,
)


def test_workflow_command_is_one_line_and_escapes_what_would_end_a_part():
    annotation = Annotation("a,b:c.yaml", 3, "FAIL 100%", "one: 50%\ntwo, three", 7)
    assert workflow_command(annotation) == (
        "::error file=a%2Cb%3Ac.yaml,line=3,col=7,title=FAIL 100%25::one: 50%25%0Atwo, three"
    )


def test_problems_of_a_file_have_their_own_places():
    problems = [
        Problem("a/b.yaml", 2, 1, "`x` is not a key", "did you mean `y`?"),
        Problem("b.yaml", 0, 0, "empty"),
    ]
    (found,) = problem_annotations(problems)
    assert (found.path, found.line, found.column) == ("a/b.yaml", 2, 1)
    assert found.message == "`x` is not a key (did you mean `y`?)"


def test_path_is_relative_to_the_checkout_only_if_it_is_in_it():
    assert in_repository("/checkout/a/b.yaml", "/checkout") == "a/b.yaml"
    assert in_repository("/elsewhere/b.yaml", "/checkout") == "/elsewhere/b.yaml"
    assert in_repository("/checkout/b.yaml", "") == "/checkout/b.yaml"


def an_entry(**kwargs) -> Entry:
    fields = {"status": "FAIL", "run": "udp[n=2]", "place": "udp.yaml:3", "reason": "why"}
    return Entry(**{**fields, "text": "FAIL udp", **kwargs})


def test_summary_escapes_markdown_in_cells_and_not_in_texts():
    text = job_summary(["1 run executed"], [an_entry(reason="a|b <c> *d*\ne", text="a|b\n```\nc")])
    assert text == (
        "## envoyassert: 1 run executed\n"
        "\n"
        "| verdict | run | where | why |\n"
        "|---|---|---|---|\n"
        "| ❌ FAIL | udp\\[n=2\\] | udp.yaml:3 | a\\|b &lt;c&gt; \\*d\\* e |\n"
        "\n"
        "<details><summary>FAIL udp[n=2]</summary>\n"
        "\n"
        "````text\n"
        "a|b\n"
        "```\n"
        "c\n"
        "````\n"
        "\n"
        "</details>\n"
    )


def test_summary_too_large_for_github_says_what_it_leaves_out():
    text = job_summary(["9 runs"], [an_entry(text="é" * 300)] * 9, max_bytes=3000)
    assert len(text.encode()) <= 3000
    shown = text.count("<details>")
    assert 0 < shown < 9
    assert text.endswith(f"… and the texts of {9 - shown} more, which the log has\n")


def test_summary_without_failures_is_the_count_and_what_was_skipped():
    text = job_summary(["1 run executed: 1 passed", "  2 skipped: no Docker"], [])
    assert text == "## envoyassert: 1 run executed: 1 passed\n\n- 2 skipped: no Docker\n"


def test_name_of_a_user_in_a_text_of_others_notifies_no_one():
    assert inline("ask @edge, x@y.z") == "ask @<!-- -->edge, x@<!-- -->y.z"
