package container

import (
	"fmt"
	"math/rand/v2"
)

// Containers that nobody named are called by the water they are.
var (
	adjectives = [...]string{
		"brisk", "calm", "clear", "cold", "deep", "eager", "even", "fair", "fleet", "gentle", "glassy", "keen",
		"lively", "mild", "muddy", "narrow", "placid", "quick", "quiet", "rapid", "salty", "shallow", "silver",
		"slow", "steady", "still", "swift", "tidal", "warm", "wide", "wild", "young",
	}
	nouns = [...]string{
		"bay", "beck", "bight", "brook", "burn", "canal", "channel", "cove", "creek", "current", "delta", "eddy",
		"estuary", "fjord", "ford", "gorge", "gulf", "inlet", "lagoon", "lake", "leat", "lock", "mere", "moat",
		"pond", "reach", "rill", "river", "sound", "spring", "strait", "weir",
	}
)

// randomName returns a name that is not taken.
func randomName(taken func(string) bool) string {
	name := adjectives[rand.IntN(len(adjectives))] + "_" + nouns[rand.IntN(len(nouns))]
	for try := name; ; try = fmt.Sprintf("%s%d", name, rand.IntN(1_000_000)) {
		if !taken(try) {
			return try
		}
	}
}
