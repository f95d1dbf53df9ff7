package main

import (
	"fmt"
	"strings"
)

// A query is PromQL with placeholders for common selectors: INSTANCES selects by the dashboard's
// variables, FLEETS does so for series without an instance.
type query struct {
	legend string
	expr   string
}

// promQL returns the query with the placeholders replaced.
func (q query) promQL() string {
	return strings.NewReplacer(
		"INSTANCES", `namespace=~"$namespace",job=~"$job",instance=~"$instance"`,
		"FLEETS", `namespace=~"$namespace",job=~"$job"`,
	).Replace(q.expr)
}

// by has a grouping for each instance, which Kubernetes knows by its pod.
const (
	byInstance = "by (instance, pod)"
	instance   = "{{pod}} {{instance}}"
)

// rate returns the summed rate of a counter; by is a grouping or "".
func rate(by, counter string, matchers ...string) string {
	return fmt.Sprintf("sum %s(rate(%s{%s}[$__rate_interval]))", space(by), counter, selector(matchers))
}

// grown returns the increase of a counter since the previous point.
func grown(by, counter string, matchers ...string) string {
	return fmt.Sprintf("sum %s(increase(%s{%s}[$__rate_interval]))", space(by), counter, selector(matchers))
}

// sum returns the sum of a gauge.
func sum(by, gauge string, matchers ...string) string {
	return fmt.Sprintf("sum %s(%s{%s})", space(by), gauge, selector(matchers))
}

// quantile returns a quantile of a histogram, grouped by these labels. Prometheus has a histogram
// as buckets, or as one series if it scrapes native histograms.
func quantile(q float64, histogram string, labels ...string) string {
	classic := append(append([]string{}, labels...), "le")
	return fmt.Sprintf("histogram_quantile(%[1]v, sum by (%[2]s) (rate(%[3]s_bucket{INSTANCES}[$__rate_interval])))"+
		" or histogram_quantile(%[1]v, sum %[4]s(rate(%[3]s{INSTANCES}[$__rate_interval])))",
		q, strings.Join(classic, ", "), histogram, space(grouping(labels)))
}

// observed returns the rate of observations of a histogram.
func observed(histogram string, labels ...string) string {
	return fmt.Sprintf("sum %[1]s(rate(%[2]s_count{INSTANCES}[$__rate_interval])) or histogram_count(sum "+
		"%[1]s(rate(%[2]s{INSTANCES}[$__rate_interval])))", space(grouping(labels)), histogram)
}

func grouping(labels []string) string {
	if len(labels) == 0 {
		return ""
	}
	return "by (" + strings.Join(labels, ", ") + ")"
}

func selector(matchers []string) string {
	return strings.Join(append(append([]string{}, matchers...), "INSTANCES"), ",")
}

func space(by string) string {
	if by == "" {
		return ""
	}
	return by + " "
}
