package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"slicer-k3s.lab/kubernetes/internal/config"
	"slicer-k3s.lab/kubernetes/internal/supervisor"
)

const snapshotLimit = 2 * time.Minute

// snapshotSettings are the keys of the configuration that this command takes; of the others it warns.
var snapshotSettings = []string{"data-dir", "node-name", "debug", "log", "alsologtostderr", "etcd-snapshot-dir", "etcd-snapshot-compress", "etcd-snapshot-retention"}

type snapshotCommand struct{ dataDir, dir, name, token, server *string }

func snapshots(args []string) int {
	root := &cobra.Command{Use: "etcd-snapshot", Short: "Manage etcd snapshots", SilenceUsage: true, SilenceErrors: true}
	settings, err := config.ReadOnly(snapshotSettings, os.Getenv)
	if err != nil {
		return fatal(err)
	}
	flags := root.PersistentFlags()
	s := snapshotCommand{
		dataDir: flags.StringP("data-dir", "d", settings.Text("data-dir", config.DefaultDataDir), "folder to hold state"),
		dir:     flags.String("etcd-snapshot-dir", settings.Text("etcd-snapshot-dir", ""), "directory to save snapshots in"),
		name:    flags.String("name", "on-demand", "base name of the snapshot"),
		token:   flags.StringP("etcd-token", "t", "", "shared secret used to authenticate to the server"),
		server:  flags.StringP("etcd-server", "s", "https://127.0.0.1:6443", "server to connect to"),
	}
	root.AddCommand(
		&cobra.Command{Use: "save", Args: cobra.NoArgs, Short: "Trigger an immediate etcd snapshot", RunE: s.save},
		&cobra.Command{Use: "ls", Aliases: []string{"list", "l"}, Args: cobra.NoArgs, Short: "List snapshots", RunE: s.list},
		&cobra.Command{Use: "delete name...", Args: cobra.MinimumNArgs(1), Short: "Delete given snapshots", RunE: s.delete},
	)
	return execute(root, args)
}

// ask has the server do it: it is the server that has etcd.
func (s snapshotCommand) ask(c *cobra.Command, operation string, names []string, answer any) error {
	ctx := commandContext(c)
	client, err := ownServer(ctx, *s.server, *s.token, *s.dataDir, snapshotLimit)
	if err != nil {
		return err
	}
	body, err := json.Marshal(supervisor.SnapshotRequest{Operation: operation, Name: names, Dir: *s.dir})
	if err != nil {
		return err
	}
	content, err := client.Send(ctx, http.MethodPost, "/db/snapshot", nil, body)
	if err != nil {
		return fmt.Errorf("see server log for details: %w", err)
	}
	return json.Unmarshal(content, answer)
}

func (s snapshotCommand) save(c *cobra.Command, _ []string) error {
	var result supervisor.SnapshotResult
	if err := s.ask(c, "save", []string{*s.name}, &result); err != nil {
		return err
	}
	for _, name := range result.Created {
		logrus.Infof("Snapshot %s saved.", name)
	}
	return nil
}

func (s snapshotCommand) delete(c *cobra.Command, names []string) error {
	var result supervisor.SnapshotResult
	if err := s.ask(c, "delete", names, &result); err != nil {
		return err
	}
	for _, name := range names {
		if slices.Contains(result.Deleted, name) {
			logrus.Infof("Snapshot %s deleted.", name)
		} else {
			logrus.Warnf("Snapshot %s not found.", name)
		}
	}
	return nil
}

func (s snapshotCommand) list(c *cobra.Command, _ []string) error {
	var found []supervisor.Snapshot
	if err := s.ask(c, "list", nil, &found); err != nil {
		return err
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)
	fmt.Fprint(table, "Name\tLocation\tSize\tCreated\n")
	for _, snapshot := range found {
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\n", snapshot.Name, snapshot.Location, snapshot.Size, snapshot.Created.Format(time.RFC3339))
	}
	return table.Flush()
}
