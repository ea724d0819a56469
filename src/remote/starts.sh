journalctl -q --no-pager -o json --output-fields=MESSAGE,_SYSTEMD_INVOCATION_ID -n {} _SYSTEMD_UNIT={} |
  WANTED={} awk '
    BEGIN { count = split(ENVIRON["WANTED"], wanted, "|") }
    {
      keep = count == 0
      for (n = 1; n <= count && !keep; n++) keep = index($0, wanted[n])
      start = "none"
      if (match($0, /"_SYSTEMD_INVOCATION_ID":"[0-9a-f]+"/)) start = substr($0, RSTART, RLENGTH)
      if (keep || !(start in seen)) { seen[start]; print }
    }' | tail -n 400
