#!/bin/sh
# Makes the bucket and the account of Rounds; run again, it changes nothing.
set -eu
mc alias set store http://objects:9000 "${MINIO_ROOT_USER:?}" "${MINIO_ROOT_PASSWORD:?}" > /dev/null
mc mb --ignore-existing "store/${ROUNDS_S3_BUCKET:?}"
mc version enable "store/$ROUNDS_S3_BUCKET"
sed "s/BUCKET/$ROUNDS_S3_BUCKET/g" /setup/policy.json > /tmp/policy.json
mc admin policy create store rounds /tmp/policy.json
mc admin user add store "${ROUNDS_S3_ACCESS_KEY:?}" "${ROUNDS_S3_SECRET_KEY:?}" > /dev/null
mc admin policy attach store rounds --user "$ROUNDS_S3_ACCESS_KEY" || \
    mc admin policy entities store --user "$ROUNDS_S3_ACCESS_KEY" | grep --quiet rounds
