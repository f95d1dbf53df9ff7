package serve

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

func newReloads(metrics prometheus.Registerer) *prometheus.CounterVec {
	reloads := promauto.With(metrics).NewCounterVec(prometheus.CounterOpts{
		Name: "shelfcast_reloads_total", Help: "How often templates and assets were read again, by result: taken, or refused.",
	}, []string{"result"})
	reloads.WithLabelValues("taken")
	reloads.WithLabelValues("refused")
	return reloads
}

// reloadWhenTold reads the folders of templates and assets again whenever it is
// told to, until ctx ends.
func (i *Instance) reloadWhenTold(ctx context.Context) error {
	for {
		select {
		case <-i.reload: // nil: never
			_ = i.Reload() // which has said it
		case <-ctx.Done():
			return nil
		}
	}
}

// Reload reads the folders of templates and assets again. What is wrong with them
// is logged and counted, and those from before stay. Sessions stay in any case:
// what they are sent from then on is in the new look.
func (i *Instance) Reload() error {
	take, err := i.assets.Reload()
	if err == nil {
		err = i.settings.ofFolder(i.templates.Reload())
	}
	if err != nil {
		i.reloads.WithLabelValues("refused").Inc()
		i.log.Error("templates and assets stay as they were", "error", err)
		return err
	}
	take()
	i.reloads.WithLabelValues("taken").Inc()
	i.log.Info("templates and assets were read again", "hash", i.templates.Hash())
	return nil
}
