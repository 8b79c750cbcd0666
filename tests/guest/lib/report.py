# SPDX-License-Identifier: BSD-3-Clause
"""What went wrong, in few lines and the cause first: a log of CI may show no more than those."""

LINES = 36  # of a report
WIDTH = 200
SECTION_LINES = 10
REASON = "FAILED: "  # how scripts begin the line that says why they end
HEADING = "--- "  # how they begin what they print of a file


class Section:
    """Lines that belong together, the latest last."""

    def __init__(self, name, lines=()):
        self.name, self.lines = name, list(lines)


def sections_of_output(lines):
    """What a script has printed; what comes before its first heading is called "output"."""
    found = [Section("output")]
    for line in lines:
        if line.startswith(HEADING):
            found.append(Section(line.removeprefix(HEADING)))
        else:
            found[-1].lines.append(line)
    # The script's own last words are worth less than what it has picked for the purpose.
    return [section for section in found[1:] + found[:1] if section.lines]


def sections_of_files(*paths):
    there = [path for path in paths if path.exists()]
    found = [Section(path.name, path.read_text(errors="replace").splitlines()) for path in there]
    return [section for section in found if section.lines]


def reasons(found):
    """Everything that is said to be one, once, and by whom."""
    said = {}
    for section in found:
        for line in section.lines:
            if line.startswith(REASON):
                said.setdefault(line, section.name)
    return [f"{line} ({name})" for line, name in said.items()]


def brief(what, found):
    """The reasons, WHAT in words, the last lines of sections, which are in order of importance."""
    report = [*reasons(found)[:SECTION_LINES], *what.splitlines()[:SECTION_LINES]]
    left = LINES - len(report)
    for place, section in enumerate(found):
        kept_for_others = sum(min(len(other.lines), 2) + 1 for other in found[place + 1:])
        n = min(len(section.lines), SECTION_LINES, max(left - kept_for_others, 3) - 1)
        if left > 1:
            report += [f"{HEADING}{section.name}", *section.lines[-min(n, left - 1):]]
            left -= min(n, left - 1) + 1
    return "\n".join(line.replace("\1", "")[:WIDTH] for line in report)
