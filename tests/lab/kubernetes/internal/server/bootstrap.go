package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"slicer-k3s.lab/kubernetes/internal/bootstrap"
	"slicer-k3s.lab/kubernetes/internal/config"
	"slicer-k3s.lab/kubernetes/internal/etcd"
	"slicer-k3s.lab/kubernetes/internal/join"
	"slicer-k3s.lab/kubernetes/internal/passwd"
	"slicer-k3s.lab/kubernetes/internal/process"
)

const bootstrapLimit = 15 * time.Second

func disk(s *config.Server) bootstrap.Disk {
	return bootstrap.Disk{Dir: s.ServerDir(), Encrypted: s.Critical.EncryptSecrets}
}

// load brings the disk in line with the cluster's bootstrap data, whose server is asked first where one is named and
// answers; it returns the way to that server. A first server of a new cluster has no other server to ask.
func load(ctx context.Context, s *config.Server) (*join.Client, error) {
	initialized := etcd.Initialized(datastore(s))
	switch {
	case initialized:
		logrus.Info("Managed etcd cluster bootstrap already complete and initialized")
		origin := remote(ctx, s)
		return origin, reload(ctx, s, origin)
	case s.URL == "":
		logrus.Info("Managed etcd cluster initializing")
		return nil, nil //nolint:nilnil // there is no other server
	case s.Token == "":
		return nil, errors.New("failed to check if bootstrap data has been initialized: token is required to join a cluster")
	}
	origin, err := join.Connect(ctx, from(s, s.Token, passwd.Server))
	if err != nil {
		return nil, fmt.Errorf("failed to check if bootstrap data has been initialized: failed to validate token: %w", err)
	}
	logrus.Info("Managed etcd cluster not yet initialized")
	if err := compare(ctx, s); err != nil {
		return nil, fmt.Errorf("failed to validate server configuration: %w", err)
	}
	return origin, fetch(ctx, s, origin)
}

// from is the server that the configuration names.
func from(s *config.Server, text, user string) join.Origin {
	return join.Origin{URL: s.URL, Token: text, User: user, CA: s.ServerDir("tls", "server-ca.crt"), Limit: bootstrapLimit}
}

// remote is the way to the server that the configuration names, nil where there is none: a restart does not depend on it.
func remote(ctx context.Context, s *config.Server) *join.Client {
	if s.URL == "" || s.Token == "" {
		return nil
	}
	origin, err := join.Connect(ctx, from(s, s.Token, passwd.Server))
	if err != nil {
		return nil
	}
	return origin
}

// reload is load for a server that holds data already: where no other server lets it in, its own data counts.
func reload(ctx context.Context, s *config.Server, origin *join.Client) error {
	if origin != nil {
		err := fetch(ctx, s, origin)
		var newer *process.Fatal
		if err == nil || errors.As(err, &newer) {
			if err == nil {
				logrus.Info("Successfully reconciled with remote datastore")
			}
			return err
		}
		logrus.Warnf("Unable to reconcile with remote datastore: %v", err)
	}
	if err := reloadLocal(ctx, s); err != nil {
		return fmt.Errorf("failed to reconcile with local datastore: %w", err)
	}
	logrus.Info("Successfully reconciled with local datastore")
	return nil
}

// fetch takes the data from another server.
func fetch(ctx context.Context, s *config.Server, origin *join.Client) error {
	answer, err := origin.Get(ctx, "/v1-k3s/server-bootstrap")
	if err != nil {
		return err
	}
	data := bootstrap.Data{}
	if err := json.Unmarshal(answer, &data); err != nil {
		return err
	}
	return reconcile(s, data)
}

// reloadLocal takes the data from this server's own datastore, before etcd runs.
func reloadLocal(ctx context.Context, s *config.Server) error {
	password, err := currentPassword(s)
	if err != nil {
		return err
	}
	store, err := etcd.OpenCopy(datastore(s))
	if err != nil {
		return fmt.Errorf("failed to create temporary datastore client: %w", err)
	}
	data, err := bootstrap.Load(ctx, store, password)
	if err := errors.Join(err, store.Close()); err != nil {
		return err
	}
	return reconcile(s, data)
}

// reconcile ends the process where the disk is newer.
func reconcile(s *config.Server, data bootstrap.Data) error {
	logrus.Info("Reconciling bootstrap data between datastore and disk")
	err := disk(s).Reconcile(data)
	var newer *bootstrap.NewerError
	if errors.As(err, &newer) {
		return &process.Fatal{Text: newer.Error()}
	}
	return err
}

// compare refuses to join a cluster with other settings. What cannot be asked for is let pass.
func compare(ctx context.Context, s *config.Server) error {
	text := s.AgentToken
	if text == "" {
		text = s.Token
	}
	client, err := join.Connect(ctx, from(s, text, passwd.Node))
	if err != nil {
		return err
	}
	answer, err := client.Get(ctx, "/v1-k3s/config")
	if err != nil {
		logrus.Warnf("Skipping cluster configuration validation: %v", err)
		return nil
	}
	var theirs config.Critical
	if err := json.Unmarshal(answer, &theirs); err != nil {
		return err
	}
	names := s.Critical.Mismatched(theirs)
	if len(names) == 0 {
		return nil
	}
	logrus.Warnf("critical configuration mismatched: %s", strings.Join(names, ", "))
	return errors.New("critical configuration value mismatch between servers")
}

// serveBootstrap answers a joining server: from the datastore, where that is readable with its password, else from the
// disk.
func serveBootstrap(ctx context.Context, s *config.Server, member *etcd.Member, password string) ([]byte, error) {
	data, err := bootstrap.Load(ctx, member.Store(), password)
	if err != nil {
		logrus.Warnf("Failed to retrieve HTTP bootstrap data from datastore; falling back to disk: %v", err)
		if data, err = disk(s).Read(); err != nil {
			return nil, err
		}
	} else {
		logrus.Info("Serving HTTP bootstrap from datastore")
	}
	return json.Marshal(data)
}

// save puts what is on the disk into the datastore.
func save(ctx context.Context, s *config.Server, member *etcd.Member, password string, override bool) error {
	data, err := disk(s).Read()
	if err != nil {
		return err
	}
	return bootstrap.Save(ctx, member.Store(), password, data, override)
}
