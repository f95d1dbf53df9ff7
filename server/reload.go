package server

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

func newReloads(metrics prometheus.Registerer) *prometheus.CounterVec {
	reloads := promauto.With(metrics).NewCounterVec(prometheus.CounterOpts{
		Name: "shelfcast_reloads_total", Help: "Reloads of templates and assets, by result: succeeded or failed.",
	}, []string{"result"})
	reloads.WithLabelValues("succeeded")
	reloads.WithLabelValues("failed")
	return reloads
}

// reloadOnSignal calls Reload for each value of Options.Reload, until ctx ends.
func (i *Instance) reloadOnSignal(ctx context.Context) error {
	for {
		select {
		case <-i.reload: // nil: never
			_ = i.Reload() // it logs its error
		case <-ctx.Done():
			return nil
		}
	}
}

// Reload reads the folders of templates and assets again. If that fails, it logs and
// counts the error, and the old ones stay in use. Sessions stay open; what they are
// sent from then on is rendered with the new templates.
func (i *Instance) Reload() error {
	take, err := i.assets.Reload()
	if err == nil {
		err = i.settings.ofFolder(i.templates.Reload())
	}
	if err != nil {
		i.reloads.WithLabelValues("failed").Inc()
		i.log.Error("reloading templates and assets failed; the old ones stay in use", "error", err)
		return err
	}
	take()
	i.reloads.WithLabelValues("succeeded").Inc()
	i.log.Info("templates and assets were reloaded", "hash", i.templates.Hash())
	return nil
}
