//! The section Examples of every command's help. Each line that begins with the program's name is a command that can be typed.

pub(super) const INIT: &str = "\
Examples:
  # Ask for the machines, show the plan, and set the cluster up
  slicer-k3s init

  # The same from a script: options in the place of questions
  slicer-k3s init --yes --name home --control-plane n100 \\
      --host n100=alex@192.168.1.11 --host pi5=pi@192.168.1.13:2222

  # After an edit of cluster.toml: what would change (exit code 3), then do it
  slicer-k3s init --dry-run
  slicer-k3s init

  # Add the cluster to your own kubeconfig
  slicer-k3s init --merge --workstation-route

Where sudo needs a password and there is no terminal, it is read from
SLICER_K3S_SUDO_PASSWORD, or SLICER_K3S_SUDO_PASSWORD_N100 for host n100.";

pub(super) const ADD_HOST: &str = "\
Examples:
  # Add a worker host; its size is proposed
  slicer-k3s add-host pi5 --ssh pi@192.168.1.13

  # Two at once, without a question, on another SSH port
  slicer-k3s add-host nuc=alex@192.168.1.14:2222 pi6=pi@192.168.1.15 --yes

  # Agents of a size of your choice
  slicer-k3s add-host pi5 --ssh pi@192.168.1.13 --ram-gb 2 --max 3";

pub(super) const REMOVE_HOST: &str = "\
Examples:
  # Drain a host, remove its agents, and take it out of cluster.toml
  slicer-k3s remove-host pi5

  # A host that is dead
  slicer-k3s remove-host pi5 --gone

  # Only the agents of a host that also runs servers
  slicer-k3s remove-host n100 --agents

  # What would go, and what would be lost with it
  slicer-k3s remove-host pi5 --dry-run";

pub(super) const PROVE: &str = "\
Examples:
  # Test every group: a pod that only a new agent can run, then none
  slicer-k3s prove

  # Three agents at once in one group
  slicer-k3s prove k3s-agent-1 --pods 3";

pub(super) const GENERATE: &str = "\
Examples:
  # All files of the cluster below ./generated
  slicer-k3s generate

  # Before the first init: of any cluster.toml, in another directory
  slicer-k3s generate --config work.toml --out /tmp/work";

pub(super) const KUBECTL: &str = "\
Examples:
  slicer-k3s kubectl get nodes
  slicer-k3s kubectl apply -f deployment.yaml
  slicer-k3s kubectl logs -n kube-system -f deployment/coredns";

pub(super) const EXEC: &str = "\
Examples:
  slicer-k3s exec k3s-cp-1 -- df -h
  slicer-k3s exec k3s-cp-1 -- sh -c 'journalctl -u k3s | tail'

  # By the name of a Node; what is piped in is the command's stdin
  slicer-k3s exec k3s-agent-1-1-149257af -- tee /tmp/file < file";

pub(super) const SHELL: &str = "\
Examples:
  slicer-k3s shell k3s-cp-1
  slicer-k3s shell k3s-agent-1-1";

pub(super) const LOGS: &str = "\
Examples:
  # k3s on a server; follow it
  slicer-k3s logs k3s-cp-1 -f

  # Why the autoscaler keeps a Node
  slicer-k3s logs autoscaler --since 15m --grep 'cannot be removed'

  # How an agent booted; the Slicer daemon of a group
  slicer-k3s logs k3s-agent-1-1 --console
  slicer-k3s logs k3s-agent-1 -n 30";

pub(super) const STATUS: &str = "\
Examples:
  slicer-k3s status
  slicer-k3s status --watch --every 10

  # In a script: kinds of drift, one a line
  slicer-k3s status --output json | jq -r '.drift[].kind'";

pub(super) const ROUTES: &str = "\
Examples:
  # Which machine needs which route, and why
  slicer-k3s routes

  # Set and keep them on the hosts
  slicer-k3s routes apply

  # The commands for a home router, or for a Mac
  slicer-k3s routes print --for router
  slicer-k3s routes print --os macos";

pub(super) const TOKEN: &str = "\
Examples:
  # Where the tokens are
  slicer-k3s token

  # The token that joins agents
  slicer-k3s token --reveal agent";

pub(super) const EXPLAIN: &str = "\
Examples:
  # The code of an error, as in error[slicer-token]
  slicer-k3s explain slicer-token

  # All codes and steps
  slicer-k3s explain";

pub(super) const ROTATE_TOKEN: &str = "\
Examples:
  # The agents' join token; agents that have joined stay
  slicer-k3s rotate-token

  # The servers' join token
  slicer-k3s rotate-token --server

  # Slicer's API token of one host: its VMs restart
  slicer-k3s rotate-token --slicer pi5 --allow-outage";

pub(super) const IMPORT: &str = "\
Examples:
  # cluster.toml is here, and the state is lost
  slicer-k3s import

  # Both are lost, or the cluster was made by hand: name all of its hosts
  slicer-k3s import n100=alex@192.168.1.11 pi5=pi@192.168.1.13

  # Take over what another workstation changed
  slicer-k3s import --force";

pub(super) const DESTROY: &str = "\
Examples:
  # Asks for the cluster's name; keeps a snapshot of etcd here
  slicer-k3s destroy --snapshot

  # In a script
  slicer-k3s destroy --yes";

pub(super) const COMPLETIONS: &str = "\
Examples:
  # bash
  slicer-k3s completions bash > \\
      ~/.local/share/bash-completion/completions/slicer-k3s

  # zsh: a directory of $fpath
  slicer-k3s completions zsh > ~/.zfunc/_slicer-k3s

  # fish
  slicer-k3s completions fish > ~/.config/fish/completions/slicer-k3s.fish";
