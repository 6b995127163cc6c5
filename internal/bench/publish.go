package bench

import (
	"fmt"
	"slices"
)

const publishName = "publish"

// Ports that are published: single ones, as a container with many services has
// them, and one range.
const (
	manyFirst  = 20000
	manyCount  = 206
	rangeFirst = 10000
	rangeLast  = 19999
)

// publishing is how long it takes to publish many ports, and to withdraw them:
// each verb as a process of its own.
var publishing = Scenario{
	Name:   publishName,
	About:  "ms per verb, many ports",
	Rounds: 15,
	parts:  []part{{setup: setUpPublish}},
	Targets: []Target{
		{Scenario: publishName, Parameters: "verb=publish 206 ports", Arm: armSluice, AtMost: 40},
		{Scenario: publishName, Parameters: "verb=unpublish 206 ports", Arm: armSluice, AtMost: 40},
		{Scenario: publishName, Parameters: "verb=publish a range of 10000", Arm: armSluice, AtMost: 50},
		{Scenario: publishName, Parameters: "verb=unpublish a range of 10000", Arm: armSluice, AtMost: 50},
	},
}

func setUpPublish(e *Env) ([]contest, error) {
	return setUpVerbs(e, publishName, func(v *verbs) ([]operation, error) {
		if err := v.instance.run("run", "-d", "--name=many"); err != nil {
			return nil, err
		}
		var single []string
		for i := range manyCount {
			single = append(single, fmt.Sprintf("%d:%d", manyFirst+i, 1+i))
		}
		whole := []string{fmt.Sprintf("%d-%d:%d-%d", rangeFirst, rangeLast, rangeFirst, rangeLast)}
		return slices.Concat(v.publish("206 ports", single), v.publish("a range of 10000", whole)), nil
	})
}

// publish are the verbs that make and take away published ports, of a container
// that runs and with one.
func (v *verbs) publish(what string, ports []string) []operation {
	run := []string{"run", "-d", "--name=server"}
	for _, port := range ports {
		run = append(run, "-p="+port)
	}
	return []operation{
		{"publish " + what, v.verb(append([]string{"publish", "many"}, ports...)...)},
		{"unpublish " + what, v.verb(append([]string{"unpublish", "many"}, ports...)...)},
		{"run -d with " + what, v.verb(run...)},
		{"rm -f with " + what, v.verb("rm", "-f", "server")},
	}
}
