#!/bin/sh
# Gives a command the secrets that it must find in its environment, and becomes that command.
#
#   NAME_FROM_SECRETS='redis://default:{redis_password:url}@redis:6379/0' entrypoint.sh COMMAND...
#
# sets NAME with every {secret} replaced by the content of the file of that name, and takes the
# template away. {secret:url} is percent-encoded, as a password in a URL must be. {secret?} may be
# empty; where that leaves nothing, NAME is not set at all.
#
# The files lie in /run/secrets, or in CFT_SECRETS_DIR. No secret is ever an argument of a command.
set -eu

folder=${CFT_SECRETS_DIR:-/run/secrets}
suffix=_FROM_SECRETS
LC_ALL=C # bytes, not characters: a URL escapes the bytes of UTF-8

refuse() {
  echo "entrypoint: $1" >&2
  exit 64
}

# What `encoded` and `filled` make is in $result: a subshell would lose the exit of `refuse`.
encoded() {
  left=$1 result=
  while [ -n "$left" ]; do
    tail=${left#?}
    byte=${left%"$tail"}
    left=$tail
    case $byte in
      [a-zA-Z0-9.~_-]) result=$result$byte ;;
      *) result=$result$(printf '%s' "$byte" | od -An -tx1 | tr -d ' \n' |
        tr a-f A-F | sed 's/../%&/g') ;;
    esac
  done
}

# $1: the variable, $2: its template.
filled() {
  before='' rest=$2 made=''
  while :; do
    case $rest in
      *'{'*'}'*) ;;
      *) break ;;
    esac
    before=${rest%%'{'*}
    rest=${rest#*'{'}
    asked=${rest%%'}'*}
    rest=${rest#*'}'}
    name=${asked%'?'}
    name=${name%:url}
    case $name in
      '' | *[!a-z0-9_]*) refuse "$1$suffix: {$asked} is no name of a secret" ;;
    esac
    file=$folder/$name
    [ -r "$file" ] || refuse "$1: the secret $name is missing: $file cannot be read; \
docker/secrets.sh makes it, and the service must be given it under secrets:"
    result=$(cat "$file")
    case $asked in
      *'?') ;;
      *) [ -n "$result" ] || refuse "$1: the secret $name is empty: put its value into $file" ;;
    esac
    case $asked in
      *:url*) encoded "$result" ;;
    esac
    made=$made$before$result
  done
  result=$made$rest
}

[ $# -gt 0 ] || refuse "no command is given"
for variable in $(env | sed -n "s/^\([A-Za-z_][A-Za-z0-9_]*\)$suffix=.*/\1/p"); do
  eval "template=\$$variable$suffix"
  # shellcheck disable=SC2154 # eval sets it
  filled "$variable" "$template"
  unset "$variable$suffix"
  if [ -n "$result" ]; then
    export "$variable=$result"
  fi
done
unset LC_ALL
exec "$@"
