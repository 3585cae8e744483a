# tools/test_summary.py - ends ./dev test: what failed in JUnit files, what was skipped and why, then the counts.
"""Usage: test_summary.py [--some] JUNIT.xml...

A file that is missing, broken or without a test is a failure (--some: a file may be without).
"""
import re
import sys
import xml.etree.ElementTree as ElementTree


def outcomes(path, may_be_empty):
    """Yields (outcome, test, why, output) for each test case of a JUnit file."""
    try:
        cases = list(ElementTree.parse(path).iter("testcase"))
    except (OSError, ElementTree.ParseError) as error:
        yield "failed", path, f"the test runner left no result: {error}", ""
        return
    if not cases and not may_be_empty:
        yield "failed", path, "no test was run", ""
    for case in cases:
        name = case.get("name") if case.get("classname") in (None, case.get("name")) else (
            f"{case.get('classname')}.{case.get('name')}")
        output = case.findtext("system-out") or ""
        bad = next((case.find(tag) for tag in ("failure", "error") if case.find(tag) is not None), None)
        skip = case.find("skipped")
        if bad is not None:
            yield "failed", name, bad.get("message") or "", output
        elif skip is not None or case.get("status") in ("notrun", "disabled"):
            googletest = re.search(r": Skipped\n(.+)", output)
            why = googletest[1] if googletest else skip.get("message") if skip is not None else case.get("status")
            yield "skipped", name, why, output
        else:
            yield "passed", name, "", output


def main():
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    some = sys.argv[1:2] == ["--some"]
    for path in sys.argv[2 if some else 1:]:
        for outcome, name, why, output in outcomes(path, some):
            counts[outcome] += 1
            if outcome == "failed":
                print(f"FAILED {name}: {why}\n{output}".rstrip())
            elif outcome == "skipped":
                print(f"SKIPPED {name}: {why}")
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    return 0 if counts["passed"] and not counts["failed"] else 1


if __name__ == "__main__":
    sys.exit(main())
