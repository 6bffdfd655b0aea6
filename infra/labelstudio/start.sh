#!/bin/sh
# Bring Label Studio's database up to date and see to its administrator, then serve.
set -eu
cd /opt/labelstudio
python prepare.py
site=$(python -c 'import importlib.util as u, pathlib as p; print(p.Path(u.find_spec("label_studio").origin).parent)')
exec python -m gunicorn label_studio.core.wsgi:application --pythonpath "$site" --bind 0.0.0.0:8080 \
    --workers 2 --threads 4 --worker-class gthread --timeout 120 --graceful-timeout 20 --log-level warning
