#!/bin/sh
# Makes what is secret, once: docker/secrets/ with a file a secret, and docker/.env with the group
# that may read them. What is there is never overwritten, so a second run adds what is missing.
#
#   docker/secrets.sh [FOLDER]
#
# The folder is open to its owner alone. The files can be read by the owner's group, to which
# compose.yaml adds every container: a container's user is another one than the host's, and Compose
# hands a secret file over with the host's owner and mode.
set -eu
umask 077

here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$here/secrets}
mkdir -p "$folder"
chmod 700 "$folder"

# $1: name, $2: mode; the content is on stdin. Written beside and linked: what is there stays, and of
# two runs at once one makes the secret.
keep() {
  cat > "$folder/.$1.$$"
  chmod "$2" "$folder/.$1.$$"
  if ln "$folder/.$1.$$" "$folder/$1" 2>/dev/null; then said=made; else said=there; fi
  rm -f "$folder/.$1.$$"
  [ -e "$folder/$1" ] || { echo "secrets: $folder/$1 cannot be made" >&2; exit 1; }
  printf '%-5s %s\n' "$said" "$folder/$1"
}

# $1: bytes of randomness. Letters and digits alone: no URL and no shell trips over them.
random() { head -c "$1" /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }

for name in postgres_password prefect_database_password mlflow_database_password redis_password \
  objects_secret_key prefect_password mlflow_admin_password mlflow_flask_key; do
  random 24 | keep "$name" 440
done
random 10 | keep objects_access_key 440
# Of Prefect's blocks; a key of Fernet is 32 bytes in base64 for URLs.
head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n' | keep prefect_encryption_key 440

# Redis gets the digest of its password, not the password, and an account that can only ping.
digest=$(printf '%s' "$(cat "$folder/redis_password")" | sha256sum | cut -d ' ' -f 1)
printf 'user default on #%s ~* &* +@all\nuser health on nopass -@all +ping\n' "$digest" |
  keep redis_users 440

# Not used while empty; fill them in before `cft deploy` runs.
for name in ntfy_topic ntfy_token lambda_api_key; do
  printf '' | keep "$name" 640
done

# Compose mounts these two as they lie here: other users must be able to read them, whatever the umask
# of the checkout was.
[ $# -gt 0 ] || chmod a+rX "$here/postgres-init.sh" "$here/mlflow-auth.ini"

if [ $# -eq 0 ] && ! grep -qs '^CFT_SECRETS_GID=' "$here/.env"; then
  echo "CFT_SECRETS_GID=$(id -g)" >> "$here/.env"
  echo "made  $here/.env"
fi
