package render

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"shelfcast/store"
)

// An ask is for one of many fragments, and takes it.
type ask struct {
	want    store.Rev
	certain bool   // want is what is current, or something newer than was heard of
	holder  string // of the lease that we have; "": none
	waited  bool   // another instance was making it
	unheard bool   // nobody had heard of the version that was wanted
	other   bool   // and it is another that there is
	gone    bool   // there is no such product
	got     *Fragment
}

// Fragments is Fragment for many products in one view, in the order of wants,
// at the cost of one: what is not in memory is asked of Redis in one round trip,
// and what is not there is read from the database in one query. nil stands for
// a product that there is not; with an error also for one that could not be had.
func (c *Cache) Fragments(ctx context.Context, view View, wants []store.Rev) ([]*Fragment, error) {
	e := c.templates.now.Load()
	form, ok := e.form(view)
	if !ok {
		return make([]*Fragment, len(wants)), ErrNoView
	}
	found := make([]*Fragment, len(wants))
	var lacking []*ask
	var places []int // of those in wants
	var name strings.Builder
	fmt.Fprint(&name, "many ", form)
	for i, want := range wants {
		if c.unknown.has(want.ID) {
			c.metrics.unknown.Inc()
			continue
		}
		if !c.current.possible(want.Version) {
			want.Version = 0
		}
		newest, certain := c.current.version(want.ID)
		a := &ask{want: want, certain: certain || want.Version > 0}
		a.want.Version = max(want.Version, newest)
		if a.certain {
			if found[i] = c.inMemory(form, a.want); found[i] != nil {
				continue
			}
		}
		lacking, places = append(lacking, a), append(places, i)
		fmt.Fprint(&name, " ", a.want.ID, ":", a.want.Version, a.certain)
	}
	if len(lacking) == 0 {
		return found, nil
	}
	// As in Fragment, for all who lack the same. Who lacks some of it is held off
	// by the leases.
	fill := c.flights.DoChan(name.String(), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.cfg.FillTimeout)
		defer cancel()
		err := c.fillAll(ctx, e, form, lacking)
		return lacking, err
	})
	select {
	case r := <-fill:
		filled, _ := r.Val.([]*ask)
		for n, a := range filled {
			found[places[n]] = a.got
		}
		return found, r.Err
	case <-ctx.Done():
		return found, ctx.Err()
	}
}

// without has those of asks that have not got theirs.
func without(asks []*ask) (lacking []*ask) {
	for _, a := range asks {
		if a.got == nil && !a.gone {
			lacking = append(lacking, a)
		}
	}
	return lacking
}

// fillAll is fill for many, in steps of one round trip each.
func (c *Cache) fillAll(ctx context.Context, e *edition, form form, asks []*ask) error {
	patience := time.Now().Add(c.cfg.LeaseWait)
	err := c.findAll(ctx, form, asks)
	if err == nil {
		if err := c.confirm(ctx, form, without(asks)); err != nil {
			return err
		}
		err = c.findAll(ctx, form, unlooked(asks))
	}
	for lacking := without(asks); err == nil && len(lacking) > 0; lacking = without(lacking) {
		var ours, theirs []*ask
		ours, theirs, err = c.leaseAll(ctx, form, lacking)
		if err != nil {
			break
		}
		if len(ours) > 0 {
			failed := c.makeAll(ctx, e, form, ours)
			if failed != nil {
				return failed
			}
		}
		lacking = theirs // what we have made, or what there is not, is done
		if len(theirs) == 0 {
			return nil
		}
		for _, a := range theirs {
			a.waited = true
		}
		if time.Now().After(patience) {
			c.metrics.overran.Add(float64(len(theirs)))
			return c.makeAll(ctx, e, form, theirs)
		}
		if err := pause(ctx, 10*time.Millisecond+rand.N(10*time.Millisecond)); err != nil {
			return err
		}
	}
	if lacking := without(asks); err != nil && len(lacking) > 0 { // Redis is away
		return c.makeAll(ctx, e, form, lacking)
	}
	return nil
}

// confirm asks the database for the versions of those products of which a version is
// wanted that nobody here has heard of, in one query, and has them want what there is
// in its place: whoever makes versions up is not to have each of them looked for,
// leased, loaded and rendered. One that is in memory then has got its fragment.
func (c *Cache) confirm(ctx context.Context, form form, asks []*ask) error {
	var ids []int64
	for _, a := range asks {
		if a.unheard = a.want.Version > c.Newest(a.want.ID); a.unheard {
			ids = append(ids, a.want.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	done, err := c.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	found, err := c.Compare(ctx, ids)
	if err != nil {
		return err
	}
	has := make(map[int64]int64, len(found))
	for _, r := range found {
		has[r.ID] = r.Version
	}
	for _, a := range asks {
		if !a.unheard {
			continue
		}
		version, ok := has[a.want.ID]
		if !ok {
			a.gone = true
			c.missing(ctx, a.want.ID)
			continue
		}
		asked := a.want.Version
		a.want.Version, a.certain = max(version, c.Newest(a.want.ID)), true
		if a.other = a.want.Version != asked; a.other {
			a.got = c.inMemory(form, a.want)
		}
	}
	return nil
}

// unlooked have those whose wants confirm has made others, and that lack theirs.
func unlooked(asks []*ask) (some []*ask) {
	for _, a := range without(asks) {
		if a.other {
			some = append(some, a)
		}
	}
	return some
}

// findAll looks for all of them in Redis.
func (c *Cache) findAll(ctx context.Context, form form, asks []*ask) error {
	if len(asks) == 0 {
		return nil
	}
	if err := c.shared.findAll(ctx, form, asks); err != nil {
		return err
	}
	for _, a := range asks {
		c.take(a)
	}
	return nil
}

// take remembers what Redis had.
func (c *Cache) take(a *ask) {
	if a.got != nil {
		c.metrics.redis.Inc()
		c.remember(a.got)
	}
}

// leaseAll asks to be the one who makes them. Of those that are in neither list
// the fragment was put there meanwhile.
func (c *Cache) leaseAll(ctx context.Context, form form, asks []*ask) (ours, theirs []*ask, err error) {
	leased, holder, err := c.shared.leaseAll(ctx, form, asks, c.cfg.Lease)
	if err != nil {
		return nil, nil, err
	}
	var needless []*ask
	for i, a := range asks {
		if leased[i] {
			a.holder = holder
		} else if a.got != nil && a.waited {
			c.metrics.waited.Inc()
		}
		switch c.take(a); {
		case a.got != nil && leased[i]:
			needless = append(needless, a)
		case a.got != nil:
		case leased[i]:
			ours = append(ours, a)
		default:
			theirs = append(theirs, a)
		}
	}
	c.metrics.taken.Add(float64(len(ours)))
	if len(needless) > 0 {
		c.shared.putAll(ctx, form, needless, false)
	}
	return ours, theirs, nil
}

// makeAll reads the products in one query, renders them, and shares them.
func (c *Cache) makeAll(ctx context.Context, e *edition, form form, asks []*ask) error {
	heard := map[int64]int64{}
	wants := make([]store.Rev, len(asks))
	for i, a := range asks {
		heard[a.want.ID] = c.Newest(a.want.ID)
		if a.want.Version = max(a.want.Version, heard[a.want.ID]); a.certain {
			wants[i] = a.want
		} else {
			wants[i] = store.Rev{ID: a.want.ID}
		}
	}
	products, err := c.loadAll(ctx, form.view, wants)
	for _, a := range asks {
		if err != nil {
			break
		}
		p, ok := products[a.want.ID]
		if !ok {
			c.missing(ctx, a.want.ID)
			continue
		}
		if a.got = c.inMemory(form, p.Rev); a.got == nil {
			a.got, err = c.render(ctx, e, form, p, heard[p.ID])
		}
	}
	if !c.shared.putAll(ctx, form, asks, true) {
		c.metrics.unshared.Add(float64(len(asks)))
	}
	return err
}

// loadAll reads the products, when it is their turn.
func (c *Cache) loadAll(ctx context.Context, view View, wants []store.Rev) (map[int64]store.Product, error) {
	done, err := c.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	c.metrics.loads.WithLabelValues(string(view)).Add(float64(len(wants)))
	found, err := c.source.ShownAll(ctx, wants)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	products := make(map[int64]store.Product, len(found))
	for _, p := range found {
		products[p.ID] = p
	}
	return products, nil
}
