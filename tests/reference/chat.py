# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes tests/golden/chat.json: what Jinja 3.1 itself renders, set up as the transformers library sets
it up for chat templates. Run in tests/reference with python3-jinja2:

    python3 chat.py ../golden/chat.json

The templates in chat/*.jinja are written for this project in the manner of the published formats;
chat/expressions.txt has one template per line, \\n for line breaks and ␍ for carriage returns.
"""
import datetime
import json
import pathlib
import sys

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox

NOW = datetime.datetime(2026, 3, 7, 9, 5, 2, tzinfo=datetime.timezone.utc)
HERE = pathlib.Path(__file__).parent


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("inside"), [], [], body).set_lineno(line)

    def inside(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
environment.filters["tojson"] = tojson
environment.globals["raise_exception"] = raise_exception
environment.globals["strftime_now"] = lambda layout: NOW.strftime(layout)


def render(source, variables):
    """(text, None) or (None, error)."""
    try:
        return environment.from_string(source).render(**variables), None
    except Exception as error:  # whatever it is, ours must be an error too
        return None, f"{type(error).__name__}: {error}"


def main(out):
    conversations = json.loads((HERE / "chat" / "conversations.json").read_text())
    templates = {p.stem: p.read_text() for p in sorted((HERE / "chat").glob("*.jinja"))}
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    cases = []
    for name, source in templates.items():
        for title, conversation in conversations.items():
            for generation in (True, False) if title in ("turns", "assistant_last") else (True,):
                variables = {**tokens, "documents": None, "tools": None, "add_generation_prompt": generation}
                variables.update(conversation)
                text, error = render(source, variables)
                cases.append({"template": name, "conversation": title, "generation": generation,
                              **({"error": error} if text is None else {"rendered": text})})
    variables = json.loads((HERE / "chat" / "variables.json").read_text())
    expressions = []
    for line in (HERE / "chat" / "expressions.txt").read_text().splitlines():
        if not line or line.startswith("##"):
            continue
        source = line.replace("\\\\", "\0").replace("\\n", "\n").replace("\0", "\\").replace("␍", "\r")
        text, error = render(source, variables)
        expressions.append({"source": source, **({"error": error} if text is None else {"rendered": text})})
    document = {"tokens": tokens, "cases": cases, "expressions": expressions}
    pathlib.Path(out).write_text(json.dumps(document, ensure_ascii=False, indent=0) + "\n")
    print(f"{len(cases)} conversations, {len(expressions)} expressions, "
          f"{sum('error' in c for c in cases)} and {sum('error' in e for e in expressions)} refused")


if __name__ == "__main__":
    main(sys.argv[1])
