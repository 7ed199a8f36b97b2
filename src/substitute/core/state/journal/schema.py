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
)
"""What takes a journal from each version of the schema to the next; the first makes an empty file a journal.

Columns are only added, and `INSERT` names its columns: a command of the version before that is still under way goes on.
"""

VERSION = len(SCHEMAS)
