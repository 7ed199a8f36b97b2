"""What is printed and generated from the models says what the models do."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from substitute.config import Config, load
from substitute.config.document import describe, document, schema
from substitute.config.models import SECTIONS
from substitute.config.reference import annotated_example, reference_markdown
from substitute.config.root import MINIMAL
from substitute.config.tables import Inner, Named, Table

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "shop.env").write_text("TOKEN=s3cret\nNODE_ENV=test\n")
    text = MINIMAL.replace("ports", 'env_file = "shop.env"\nenv = { NODE_ENV = "production" }\nports')
    (tmp_path / "substitute.toml").write_text(text + 'server_timeout = "90m"\ntrusted_proxies = []\n')
    return load(tmp_path)


def test_the_committed_documentation_is_what_the_models_say() -> None:
    """Otherwise: ``python -m substitute.config > docs/configuration.md``."""
    assert (REPOSITORY / "docs" / "configuration.md").read_text() == reference_markdown()


@pytest.mark.parametrize("everything", [False, True])
def test_the_annotated_example_loads(tmp_path: Path, *, everything: bool) -> None:
    (tmp_path / "shop.env").write_text("TOKEN=s3cret\n")
    example = annotated_example(everything=everything)
    assert everything or example in reference_markdown()
    # Of a request, whose keys are shown too; and of a container, which needs an engine.
    instead = re.compile(
        r'^(command = "bin/healthy"|image = .*|dockerfile = .*|container_port = .*|build_(args|secrets) = .*)\n',
        re.MULTILINE,
    )
    (tmp_path / "substitute.toml").write_text(instead.sub("", example))
    app = load(tmp_path).app["shop"]
    assert app.env["NODE_ENV"] == "production"
    assert (app.env_file is not None) is everything


def test_the_example_shows_every_key_and_its_default() -> None:
    tables = tomllib.loads(annotated_example(everything=True))
    for header, table in SECTIONS.items():
        shown = tables
        for step in header:
            shown = shown[{"NAME": "shop", "PROCESS": "worker", "CRON": "digest"}.get(step, step)]
        for key in table.keys:
            assert key in shown or key in ("file", "config")
            assert f"| `{key}` |" in reference_markdown() or isinstance(shown[key], dict)


def test_every_table_is_a_section() -> None:
    pending: list[type[Table]] = [Config]
    while pending:
        table = pending.pop()
        assert table in SECTIONS.values()
        assert table.__doc__
        takes = [key.takes for key in table.keys.values()]
        inner = [kind.inner if isinstance(kind, Named) else kind for kind in takes]
        pending += [kind.kind for kind in inner if isinstance(kind, Inner)]


def test_the_document_is_json_and_hides_what_comes_from_the_env_file(config: Config) -> None:
    found = json.loads(json.dumps(document(config)))
    assert found["app"]["shop"]["env"] == {"TOKEN": "***", "NODE_ENV": "production"}
    assert found["app"]["shop"]["env_file"] == "shop.env"
    assert found["app"]["shop"]["verify"] == {"for": 0, "share": 50}
    assert found["balancer"]["server_timeout"] == 5400
    assert found["runtime"] == {"kind": "auto"}
    assert "s3cret" not in json.dumps(found) + describe(config) + repr(config)


def test_the_description_loads_as_the_same_configuration(config: Config, tmp_path: Path) -> None:
    text = describe(config)
    assert '# TOKEN = "***"' in text
    assert 'server_timeout = "90m"' in text
    (tmp_path / "substitute.toml").write_text(text)
    assert load(tmp_path) == config


def test_the_description_of_a_tcp_check_loads_again(tmp_path: Path) -> None:
    (tmp_path / "substitute.toml").write_text(MINIMAL + '[app.shop.health]\nkind = "tcp"\n')
    config = load(tmp_path)
    (tmp_path / "substitute.toml").write_text(describe(config))
    assert load(tmp_path) == config


def test_a_password_in_a_repo_is_hidden(tmp_path: Path) -> None:
    (tmp_path / "substitute.toml").write_text(MINIMAL.replace("ssh://git", "https://me:s3cret"))
    config = load(tmp_path)
    assert config.app["shop"].repo == "https://me:s3cret@YOUR-HOST/YOUR-APP.git"
    assert "s3cret" not in json.dumps(document(config)) + describe(config)


def test_the_schema_knows_every_key_with_its_description() -> None:
    made = json.loads(json.dumps(schema()))
    for header, table in SECTIONS.items():
        of_table = made if not header else made["$defs"][table.__name__]
        assert set(of_table["properties"]) == set(table.keys)
        assert of_table["additionalProperties"] == (table.others.takes.schema if table.others else False)
    assert made["$defs"]["VerifyConfig"]["properties"]["for"]["default"] == "0s"
    assert made["$defs"]["AppConfig"]["required"] == ["ports"]
    without = {"properties": {"source": {"enum": ["archive", "image"]}}, "required": ["source"]}
    assert made["$defs"]["AppConfig"]["anyOf"] == [{"required": ["repo"]}, without]
    assert list(made["properties"]["app"]["patternProperties"]) == ["^[a-z][a-z0-9-]{0,31}$"]


def test_the_configuration_imports_no_adapter() -> None:
    code = "import sys, substitute.config; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    outer = ("balancers", "runtimes", "sources", "probing", "wiring", "console", "cli")
    assert "substitute.config" in modules
    assert not [m for m in modules if m.startswith(tuple(f"substitute.{name}" for name in outer))]
