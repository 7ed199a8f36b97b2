import os
from pathlib import Path

BASE_DIR = Path(__file__).parents[1]

DEBUG = os.environ.get("DEBUG") == "1"
SECRET_KEY = os.environ["SECRET_KEY"]

# What comes by http is redirected to https. The proxy that ends TLS says which it was, with X-Forwarded-Proto;
# HAProxy takes that from `trusted_proxies` alone, by default this machine.
ALLOWED_HOSTS = [] if DEBUG else [os.environ["DOMAIN"]]  # with DEBUG: this computer's own
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = CSRF_COOKIE_SECURE = not DEBUG

INSTALLED_APPS = ["django.contrib.staticfiles", "shop"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "shop.urls"
WSGI_APPLICATION = "shop.wsgi.application"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# `data`, `media` and `static` are shared: the same directories for both slots.
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": BASE_DIR / "data" / "db.sqlite3",
        "OPTIONS": {  # both versions write for some seconds of each deployment
            "init_command": "PRAGMA journal_mode=WAL",
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
        },
    }
}
MEDIA_ROOT = BASE_DIR / "media"

# `collectstatic` writes what this version has, and the list of its hashed names, to `collected`. The build adds it
# to `static`, which holds the files of earlier versions, too: a page that they rendered still finds its own.
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage",
        "OPTIONS": {"location": BASE_DIR / "collected"},
    },
}
WHITENOISE_KEEP_ONLY_HASHED_FILES = True

# To standard error, where `substitute logs` finds it.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "INFO"},
}
