"""The tables, and what takes them from each version to the next."""

from __future__ import annotations

SCHEMAS = (
    """
CREATE TABLE IF NOT EXISTS app (
    name TEXT PRIMARY KEY, live TEXT, stopped INTEGER NOT NULL DEFAULT 0,
    domains TEXT NOT NULL DEFAULT '[]',
    environment TEXT NOT NULL DEFAULT '{}');
CREATE TABLE IF NOT EXISTS slot (
    app TEXT NOT NULL REFERENCES app, name TEXT NOT NULL, directory TEXT NOT NULL, endpoints TEXT NOT NULL,
    share INTEGER NOT NULL DEFAULT 0, hash TEXT, intact INTEGER NOT NULL DEFAULT 0,
    process TEXT, standby INTEGER NOT NULL DEFAULT 0,
    drain_timeout REAL NOT NULL, stop_timeout REAL NOT NULL, PRIMARY KEY (app, name));
CREATE TABLE IF NOT EXISTS deployment (
    id INTEGER PRIMARY KEY AUTOINCREMENT, app TEXT NOT NULL, operation TEXT NOT NULL, slot TEXT NOT NULL,
    hash TEXT, previous TEXT, started REAL NOT NULL, finished REAL, outcome TEXT,
    phase TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL DEFAULT '', seconds TEXT NOT NULL DEFAULT '{}');
CREATE TABLE IF NOT EXISTS command (app TEXT NOT NULL, process TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS guest (
    name TEXT PRIMARY KEY, directory TEXT NOT NULL, port INTEGER NOT NULL,
    command TEXT NOT NULL, process TEXT);
CREATE TABLE IF NOT EXISTS drill (
    id INTEGER PRIMARY KEY AUTOINCREMENT, app TEXT NOT NULL, deployment INTEGER, operation TEXT,
    started REAL NOT NULL, seconds REAL NOT NULL, requests INTEGER NOT NULL, failed INTEGER NOT NULL,
    exit INTEGER NOT NULL, summary TEXT NOT NULL);
""",
    # The root's own facts; what a slot's version was proven with, and whether it was ever live; when a deployment
    # was committed, what it was of, and who typed it; what a guest was started with.
    """
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL);
ALTER TABLE slot ADD COLUMN version TEXT;
ALTER TABLE slot ADD COLUMN committed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deployment ADD COLUMN committed REAL;
ALTER TABLE deployment ADD COLUMN subject TEXT NOT NULL DEFAULT '';
ALTER TABLE deployment ADD COLUMN how TEXT NOT NULL DEFAULT '';
ALTER TABLE deployment ADD COLUMN tag TEXT NOT NULL DEFAULT '';
ALTER TABLE deployment ADD COLUMN user TEXT NOT NULL DEFAULT '';
ALTER TABLE guest ADD COLUMN settings TEXT NOT NULL DEFAULT '{}';
UPDATE deployment SET committed = finished WHERE outcome = 'succeeded';
UPDATE slot SET committed = 1
    WHERE name = (SELECT live FROM app WHERE app.name = slot.app) OR EXISTS (
        SELECT 1 FROM deployment AS past WHERE past.app = slot.app AND past.slot = slot.name
            AND past.hash = slot.hash AND past.committed IS NOT NULL);
""",
    # A journal of many deployments is asked as fast as a new one.
    """
CREATE INDEX deployment_of_app ON deployment (app, id);
CREATE INDEX deployment_under_way ON deployment (app) WHERE outcome IS NULL;
""",
    # A slot has several instances. A command of the version before that is still under way knows one, in its slot's
    # row: what it writes there is carried over.
    """
CREATE TABLE instance (
    app TEXT NOT NULL, slot TEXT NOT NULL, type TEXT NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL,
    endpoints TEXT NOT NULL DEFAULT '[]', process TEXT, PRIMARY KEY (app, slot, type, number));
INSERT INTO instance (app, slot, type, number, name, endpoints, process)
    SELECT app, name, 'web', 1, app || '_' || name, endpoints, process FROM slot WHERE process IS NOT NULL;
CREATE TRIGGER instance_of_the_version_before AFTER UPDATE OF process ON slot BEGIN
    DELETE FROM instance WHERE app = NEW.app AND slot = NEW.name;
    INSERT INTO instance (app, slot, type, number, name, endpoints, process)
        SELECT NEW.app, NEW.name, 'web', 1, NEW.app || '_' || NEW.name, NEW.endpoints, NEW.process
        WHERE NEW.process IS NOT NULL;
END;
""",
    # One-off commands and what cron runs. A cron's command runs once for each time that it is due.
    """
CREATE TABLE run (
    id INTEGER PRIMARY KEY AUTOINCREMENT, app TEXT NOT NULL, slot TEXT NOT NULL, cron TEXT NOT NULL DEFAULT '',
    command TEXT NOT NULL, user TEXT NOT NULL DEFAULT '', detached INTEGER NOT NULL DEFAULT 0, due REAL,
    started REAL NOT NULL, finished REAL, outcome TEXT, status INTEGER, process TEXT);
CREATE UNIQUE INDEX run_of_cron ON run (app, cron, due) WHERE due IS NOT NULL;
CREATE INDEX run_under_way ON run (app) WHERE outcome IS NULL;
""",
    # What a deployment did to the database, and whether the versions before it survive that.
    """
ALTER TABLE deployment ADD COLUMN release_outcome TEXT NOT NULL DEFAULT '';
ALTER TABLE deployment ADD COLUMN release_seconds REAL;
ALTER TABLE deployment ADD COLUMN release_guard TEXT NOT NULL DEFAULT '';
CREATE INDEX deployment_with_a_contract ON deployment (app, id) WHERE release_guard = 'contract';
""",
    # Directories of versions that no slot uses; those without a commit are to be removed. And all versions that are
    # there as they were built.
    """
CREATE TABLE release (
    app TEXT NOT NULL, directory TEXT NOT NULL, hash TEXT, version TEXT, PRIMARY KEY (app, directory));
CREATE VIEW kept AS
    SELECT app, hash FROM slot WHERE intact AND hash IS NOT NULL
    UNION SELECT app, hash FROM release WHERE hash IS NOT NULL;
""",
    # What was live before may run on without requests, until a time in seconds since the epoch.
    "ALTER TABLE slot ADD COLUMN standby_until REAL;",
    # A candidate of an app may wait for a person, until a time in seconds since the epoch.
    """
CREATE TABLE hold (
    app TEXT PRIMARY KEY, slot TEXT NOT NULL, deployment INTEGER NOT NULL, until REAL NOT NULL, token TEXT NOT NULL);
""",
    # How a canary ended, as JSON.
    "ALTER TABLE deployment ADD COLUMN verdict TEXT NOT NULL DEFAULT '';",
    # Below these paths the version that stands by is asked for what the live one does not have.
    "ALTER TABLE app ADD COLUMN assets TEXT NOT NULL DEFAULT '[]';",
    # Where no two versions of an app may run at once: how long a request waits for one at most, in seconds, and since
    # when they wait now.
    """
ALTER TABLE app ADD COLUMN hold REAL;
ALTER TABLE app ADD COLUMN waits_since REAL;
""",
    # What runs in a slot is kept by a cluster.
    "ALTER TABLE slot ADD COLUMN clustered INTEGER NOT NULL DEFAULT 0;",
)
"""What takes a journal from each version of the schema to the next; the first makes an empty file a journal.

Columns are only added, and `INSERT` names its columns: a command of the version before that is still under way goes on.
"""

VERSION = len(SCHEMAS)
