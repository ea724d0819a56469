# What Slicer's installation lacks, a word a line; nothing where it is whole. Its installer puts the program there first.
PATH=$PATH:/usr/local/bin:/usr/local/sbin:/usr/sbin:/sbin
for program in slicer containerd firecracker; do
    command -v "$program" >/dev/null 2>&1 || echo "$program"
done
# The mark of an installation that has begun; $r is set in tests only.
if [ -e "${r-}/etc/slicer-k3s/slicer-installing" ]; then echo "the installer's last steps"; fi
