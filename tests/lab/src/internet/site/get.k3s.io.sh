#!/bin/sh
# Installs the lab's k3s stand-in as a service. Own text; the environment it reads, the files it
# writes, the words it says and the traps it sets are those of the script that answers at this
# name on the real Internet, so that whatever drives one of them drives the other.
set -e
set -o noglob

info() { echo "[INFO] " "$@"; }
warn() { echo "[WARN] " "$@" >&2; }
fatal() {
    echo "[ERROR] " "$@" >&2
    exit 1
}

# --- What is wanted -----------------------------------------------------------------------------

need_supervisor() {
    if command -v systemctl >/dev/null 2>&1; then
        return
    fi
    if [ -x /sbin/openrc-run ]; then
        fatal 'This script of the lab knows systemd only'
    fi
    fatal 'Can not find systemd or openrc to use as a process supervisor for k3s'
}

# Each argument in single quotes, one a line, as a unit's ExecStart takes it.
quoted_lines() {
    for word in "$@"; do
        printf "\\\\\n    '%s' " "$(printf '%s' "${word}" | sed -e "s/'/'\\\\''/g")"
    done
}

# Each argument in single quotes, for eval.
quoted() {
    for word in "$@"; do
        printf "'%s' " "$(printf '%s' "${word}" | sed -e "s/'/'\\\\''/g")"
    done
}

# INSTALL_K3S_EXEC is split at blanks and may quote; nothing else in it is shell syntax.
escaped() {
    printf '%s' "$1" | tr '\n' ' ' | sed -e 's/[][!#$%&()*;<=>?_`{|}]/\\&/g'
}

choose_command() {
    case "$1" in
        -* | '')
            if [ -z "${K3S_URL}" ]; then
                command_name=server
            else
                if [ -z "${K3S_TOKEN}" ] && [ -z "${K3S_TOKEN_FILE}" ]; then
                    fatal "Defaulted k3s exec command to 'agent' because K3S_URL is defined, but K3S_TOKEN or K3S_TOKEN_FILE is not defined."
                fi
                command_name=agent
            fi
            ;;
        *)
            command_name=$1
            shift
            ;;
    esac
    case "${K3S_URL}" in
        '' | https://*) ;;
        *) fatal "Only https:// URLs are supported for K3S_URL (have ${K3S_URL})" ;;
    esac
    exec_line="${command_name} $(quoted_lines "$@")"
}

choose_names() {
    if [ -n "${INSTALL_K3S_NAME}" ]; then
        unit="k3s-${INSTALL_K3S_NAME}"
    elif [ "${command_name}" = server ]; then
        unit=k3s
    else
        unit="k3s-${command_name}"
    fi
    bad=$(printf '%s' "${unit}" | sed -e 's/[][!#$%&()*;<=>?_`{|}/[:space:]]/^/g;')
    if [ "${bad}" != "${unit}" ]; then
        warn "Invalid characters for system name:"
        warn "    ${unit}"
        fatal "    ${bad}"
    fi
}

choose_places() {
    sudo=sudo
    if [ "$(id -u)" -eq 0 ]; then
        sudo=
    fi
    if [ -n "${INSTALL_K3S_BIN_DIR}" ]; then
        bin_dir=${INSTALL_K3S_BIN_DIR}
    else
        bin_dir=/usr/local/bin
        if ! ${sudo} sh -c "touch ${bin_dir}/k3s-ro-test && rm -f ${bin_dir}/k3s-ro-test" 2>/dev/null &&
            [ -d /opt/bin ]; then
            bin_dir=/opt/bin
        fi
    fi
    unit_dir=${INSTALL_K3S_SYSTEMD_DIR:-/etc/systemd/system}
    unit_file=${unit_dir}/${unit}.service
    env_file=${unit_file}.env
    uninstall=${bin_dir}/${unit}-uninstall.sh
    killall=${bin_dir}/k3s-killall.sh
    unit_type=${INSTALL_K3S_TYPE:-notify}
    if [ "${INSTALL_K3S_BIN_DIR_READ_ONLY}" = true ]; then
        INSTALL_K3S_SKIP_DOWNLOAD=true
    fi
    releases=${GITHUB_URL:-https://github.com/k3s-io/k3s/releases}
    channels=${INSTALL_K3S_CHANNEL_URL:-https://update.k3s.io/v1-release/channels}
    channel=${INSTALL_K3S_CHANNEL:-stable}
    hashes_before=$(hashes)
}

# What a restart depends on. The configuration file is not part of it.
hashes() {
    ${sudo} sha256sum "${bin_dir}/k3s" "${unit_file}" "${env_file}" 2>&1 || true
}

# --- The binary ---------------------------------------------------------------------------------

choose_architecture() {
    arch=${ARCH:-$(uname -m)}
    case "${arch}" in
        amd64 | x86_64) arch=amd64 suffix='' ;;
        arm64 | aarch64) arch=arm64 suffix=-arm64 ;;
        arm*) arch=arm suffix=-armhf ;;
        *) fatal "Unsupported architecture ${arch}" ;;
    esac
}

fetch() {
    if command -v curl >/dev/null 2>&1; then
        curl -o "$1" -sfL "$2" || fatal 'Download failed'
    elif command -v wget >/dev/null 2>&1; then
        wget -qO "$1" "$2" || fatal 'Download failed'
    else
        fatal 'Can not find curl or wget for downloading files'
    fi
}

# Where the channel's URL ends up; a failed look-up shows only later, as a failed download.
channel_target() {
    if command -v curl >/dev/null 2>&1; then
        curl -w '%{url_effective}' -L -s -S "$1" -o /dev/null
    else
        wget -SqO /dev/null "$1" 2>&1 | grep -i Location | tail -n 1 | tr -d '\r'
    fi
}

choose_version() {
    if [ -n "${INSTALL_K3S_PR}" ] || [ -n "${INSTALL_K3S_COMMIT}" ]; then
        fatal 'Builds of commits and pull requests are not served here'
    fi
    if [ -n "${INSTALL_K3S_VERSION}" ]; then
        version=${INSTALL_K3S_VERSION}
    else
        info "Finding release for channel ${channel}"
        version=$(channel_target "${channels}/${channel}" | sed -e 's|.*/||')
    fi
    info "Using ${version} as release"
}

sum_of() {
    ${sudo} sha256sum "$1" | sed -e 's/ .*//'
}

# Keeps the status: a failed removal must not hide how the script ended.
clean_up() {
    status=$?
    set +e
    trap - EXIT
    rm -rf "${scratch}"
    exit "${status}"
}

install_binary() {
    case "${INSTALL_K3S_SKIP_DOWNLOAD}" in
        true | binary)
            info 'Skipping k3s download and verify'
            [ -x "${bin_dir}/k3s" ] || fatal "Executable k3s binary not found at ${bin_dir}/k3s"
            return
            ;;
    esac
    choose_architecture
    scratch=$(mktemp -d -t k3s-install.XXXXXXXXXX)
    trap clean_up INT EXIT
    choose_version

    sums="${releases}/download/${version}/sha256sum-${arch}.txt"
    info "Downloading hash ${sums}"
    fetch "${scratch}/sums" "${sums}"
    wanted=$(grep " k3s${suffix}\$" "${scratch}/sums" || true)
    wanted=${wanted%%[[:blank:]]*}
    if [ -x "${bin_dir}/k3s" ] && [ "$(sum_of "${bin_dir}/k3s")" = "${wanted}" ]; then
        info 'Skipping binary downloaded, installed k3s matches hash'
        return
    fi

    binary="${releases}/download/${version}/k3s${suffix}"
    info "Downloading binary ${binary}"
    fetch "${scratch}/k3s" "${binary}"
    info 'Verifying binary download'
    got=$(sum_of "${scratch}/k3s")
    if [ "${got}" != "${wanted}" ]; then
        fatal "Download sha256 does not match ${wanted}, got ${got}"
    fi
    chmod 755 "${scratch}/k3s"
    info "Installing k3s to ${bin_dir}/k3s"
    ${sudo} chown root:root "${scratch}/k3s"
    ${sudo} mv -f "${scratch}/k3s" "${bin_dir}/k3s"
}

check_selinux() {
    case "${INSTALL_K3S_SKIP_DOWNLOAD}" in true | selinux) return ;; esac
    [ "${INSTALL_K3S_SKIP_SELINUX_RPM}" = true ] && return
    if command -v getenforce >/dev/null 2>&1 && [ "$(getenforce)" = Enforcing ]; then
        if [ "${INSTALL_K3S_SELINUX_WARN}" = true ]; then
            warn 'Failed to find the k3s-selinux policy'
        else
            fatal 'Failed to find the k3s-selinux policy; this script of the lab installs none'
        fi
    fi
}

link_commands() {
    [ "${INSTALL_K3S_BIN_DIR_READ_ONLY}" = true ] && return
    [ "${INSTALL_K3S_SYMLINK}" = skip ] && return
    for name in kubectl crictl ctr; do
        if [ -e "${bin_dir}/${name}" ] && [ "${INSTALL_K3S_SYMLINK}" != force ]; then
            info "Skipping ${bin_dir}/${name} symlink to k3s, already exists"
            continue
        fi
        elsewhere=$(command -v "${name}" || true)
        if [ -n "${elsewhere}" ] && [ "${INSTALL_K3S_SYMLINK}" != force ]; then
            info "Skipping ${bin_dir}/${name} symlink to k3s, command exists in PATH at ${elsewhere}"
            continue
        fi
        info "Creating ${bin_dir}/${name} symlink to k3s"
        ${sudo} ln -sf k3s "${bin_dir}/${name}"
    done
}

# --- The way back -------------------------------------------------------------------------------

write_killall() {
    [ "${INSTALL_K3S_BIN_DIR_READ_ONLY}" = true ] && return
    info "Creating killall script ${killall}"
    ${sudo} tee "${killall}" >/dev/null <<'EOF'
%KILLALL%
EOF
    ${sudo} chmod 755 "${killall}"
    ${sudo} chown root:root "${killall}"
}

write_uninstall() {
    [ "${INSTALL_K3S_BIN_DIR_READ_ONLY}" = true ] && return
    info "Creating uninstall script ${uninstall}"
    ${sudo} tee "${uninstall}" >/dev/null <<EOF
#!/bin/sh
# Removes this k3s service, and k3s itself with the last one. The node's password stays.
[ "\$(id -u)" -eq 0 ] || exec sudo --preserve-env=K3S_DATA_DIR "\$0" "\$@"
K3S_DATA_DIR=\${K3S_DATA_DIR:-/var/lib/rancher/k3s}

${killall}

systemctl disable ${unit}
systemctl reset-failed ${unit} 2>/dev/null
rm -f ${unit_file} ${env_file}
systemctl daemon-reload
trap 'rm -f ${uninstall}' EXIT

for other in ${unit_dir}/k3s*.service; do
    if [ -e "\${other}" ]; then
        echo 'Additional k3s services installed, skipping uninstall of k3s'
        exit 0
    fi
done

for name in kubectl crictl ctr; do
    [ -L "${bin_dir}/\${name}" ] && rm -f "${bin_dir}/\${name}"
done
rm -rf /etc/rancher/k3s /run/k3s /run/flannel
# The data directory may be a mount: then only what is in it goes.
rm -rf "\${K3S_DATA_DIR}" 2>/dev/null || find "\${K3S_DATA_DIR}" -mindepth 1 -delete
rm -rf /var/lib/kubelet
rm -f ${bin_dir}/k3s ${killall}
exit 0
EOF
    ${sudo} chmod 755 "${uninstall}"
    ${sudo} chown root:root "${uninstall}"
}

# --- The service --------------------------------------------------------------------------------

forget_service() {
    ${sudo} systemctl disable "${unit}" >/dev/null 2>&1 || true
    ${sudo} rm -f "/etc/systemd/system/${unit}.service" "/etc/systemd/system/${unit}.service.env" \
        "${unit_file}" "${env_file}"
}

write_environment() {
    info "env: Creating environment file ${env_file}"
    ${sudo} touch "${env_file}"
    ${sudo} chmod 0600 "${env_file}"
    {
        export -p | sed -e 's/^export //' | grep -E '^(K3S|CONTAINERD)_[A-Za-z0-9_]*=' || true
        export -p | sed -e 's/^export //' | grep -Ei '^(NO|HTTP|HTTPS)_PROXY=' || true
    } | ${sudo} tee "${env_file}" >/dev/null
}

write_unit() {
    info "systemd: Creating service file ${unit_file}"
    ${sudo} tee "${unit_file}" >/dev/null <<EOF
[Unit]
Description=Lightweight Kubernetes
Documentation=https://k3s.io
Wants=network-online.target
After=network-online.target

[Install]
WantedBy=multi-user.target

[Service]
Type=${unit_type}
EnvironmentFile=-/etc/default/%N
EnvironmentFile=-/etc/sysconfig/%N
EnvironmentFile=-${env_file}
KillMode=process
Delegate=yes
User=root
# Many connections, many threads: without limits of this service's own.
LimitNOFILE=1048576
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
TimeoutStartSec=0
Restart=always
RestartSec=5s
ExecStartPre=-/sbin/modprobe br_netfilter
ExecStartPre=-/sbin/modprobe overlay
ExecStart=${bin_dir}/k3s \\
    ${exec_line}

EOF
}

drop_old_rules() {
    for family in iptables ip6tables; do
        if command -v "${family}-save" >/dev/null 2>&1 &&
            command -v "${family}-restore" >/dev/null 2>&1; then
            ${sudo} "${family}-save" 2>/dev/null | grep -v KUBE- | grep -iv flannel |
                ${sudo} "${family}-restore" || true
        fi
    done
}

enable_and_start() {
    if [ -f /proc/cgroups ] && [ "$(awk '$1 == "memory" { print $4 }' /proc/cgroups)" = 0 ]; then
        info 'Failed to find memory cgroup, you may need to add "cgroup_memory=1 cgroup_enable=memory" to your linux cmdline (/boot/cmdline.txt on a Raspberry Pi)'
    fi
    [ "${INSTALL_K3S_SKIP_ENABLE}" = true ] && return
    info "systemd: Enabling ${unit} unit"
    ${sudo} systemctl enable "${unit_file}" >/dev/null
    ${sudo} systemctl daemon-reload >/dev/null
    [ "${INSTALL_K3S_SKIP_START}" = true ] && return
    if [ "${hashes_before}" = "$(hashes)" ] && [ "${INSTALL_K3S_FORCE_RESTART}" != true ]; then
        info 'No change detected so skipping service start'
        return
    fi
    drop_old_rules
    info "systemd: Starting ${unit}"
    # Waits until the service says that it is ready, for ever if need be.
    ${sudo} systemctl restart "${unit}"
}

# --- All of it: in one block, so that half a script does nothing --------------------------------
{
    eval "set -- $(escaped "${INSTALL_K3S_EXEC}") $(quoted "$@")"
    need_supervisor
    choose_command "$@"
    choose_names
    choose_places
    install_binary
    check_selinux
    link_commands
    write_killall
    write_uninstall
    forget_service
    write_environment
    write_unit
    enable_and_start
}
