// Package portindex finds ranges of ports that overlap.
package portindex

import (
	"iter"
	"slices"
)

// Ports are looked for in buckets of 256: one that is published by itself is in
// one bucket, a range is in each that it touches.
const bucketBits = 8

// Index holds values under ranges of ports, any number of them under the same
// ports. The zero value is empty. It is not safe for concurrent use.
type Index[T comparable] struct {
	buckets [1 << (16 - bucketBits)][]entry[T]
}

type entry[T comparable] struct {
	first, last uint16
	value       T
}

func bucketOf(port uint16) int { return int(port >> bucketBits) }

// Add puts a value under the ports from first to last.
func (x *Index[T]) Add(first, last uint16, value T) {
	for b := bucketOf(first); b <= bucketOf(last); b++ {
		x.buckets[b] = append(x.buckets[b], entry[T]{first, last, value})
	}
}

// Remove takes away what Add put there.
func (x *Index[T]) Remove(first, last uint16, value T) {
	gone := entry[T]{first, last, value}
	for b := bucketOf(first); b <= bucketOf(last); b++ {
		if i := slices.Index(x.buckets[b], gone); i >= 0 {
			x.buckets[b] = slices.Delete(x.buckets[b], i, i+1)
		}
	}
}

// Overlapping visits each value under one of the ports from first to last, in no
// order. The loop must not change the index.
func (x *Index[T]) Overlapping(first, last uint16) iter.Seq[T] {
	return func(yield func(T) bool) {
		for b := bucketOf(first); b <= bucketOf(last); b++ {
			for _, e := range x.buckets[b] {
				// One that is in several of the buckets counts in the first.
				if e.first <= last && first <= e.last && b == max(bucketOf(e.first), bucketOf(first)) && !yield(e.value) {
					return
				}
			}
		}
	}
}
