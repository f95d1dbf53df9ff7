package main

import (
	"fmt"
	"io"
)

// A demo has the addresses of a running demo.
type demo struct {
	shops, admins []string
	token         string
}

func (d demo) print(w io.Writer) {
	fmt.Fprintf(w, `
  A shop on two instances of Shelfcast. Open the shop in one tab, the edit page
  in another, and change a price: the shop moves, on the other instance too.

    shop        %s
    shop again  %s   (the other instance)
    edit page   %s#token=%s
    admin token %s

  The database and Redis are in this process, and nothing is kept.
  Ctrl-C ends it.

`, d.shops[0], d.shops[1], d.admins[0], d.token, d.token)
}
