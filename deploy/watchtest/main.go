// Command watchtest writes the Grafana dashboard of the chart. Its tests check that dashboard,
// alerts, runbook and metrics agree, and run the alerts on time series.
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
