package server

import (
	"context"
	"errors"

	"slicer-k3s.lab/kubernetes/internal/config"
)

// rotate takes a new server token into use: at once on this server, on the others once they are restarted with it.
func rotate(ctx context.Context, s *config.Server, p *passwords, data store, fresh string) error {
	value, err := password(fresh, "")
	if err != nil {
		return err
	}
	if current, _ := p.get(); value == current {
		return errors.New("the new token is the old one")
	}
	content, err := bundle(s)
	if err != nil {
		return err
	}
	if err := reseal(ctx, data, value, content); err != nil {
		return err
	}
	p.replace(value)
	return p.write(s)
}

// replace changes the server's password, and the agents' with it where they have none of their own.
func (p *passwords) replace(value string) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.agent == p.server {
		p.agent = value
	}
	p.server = value
}
