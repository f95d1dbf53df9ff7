// Command watchtest writes the Grafana dashboard of the chart. Its tests hold
// dashboard, alerts, runbook and metrics against each other, and the alerts
// against time series that raise them.
//
//	go run . > ../../charts/shelfcast/files/dashboard.json
package main

import (
	"log"
	"os"
)

func main() {
	text, err := dashboardJSON()
	if err != nil {
		log.Fatal(err)
	}
	if _, err := os.Stdout.Write(text); err != nil {
		log.Fatal(err)
	}
}
