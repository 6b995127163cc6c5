package main

import "github.com/sluice-net/sluice/internal/shim"

// prepared is a command that waits for a client to start it.
type prepared struct {
	err     error // that the client is told
	log     *logFile
	streams *streams
	stage   *stage // nil for a further process of a container
}

// prepare makes everything ready for the command.
func (k *keeper) prepare(dir string) *prepared {
	p := &prepared{}
	if p.log, p.err = openLog(k.config.LogPath); p.err != nil {
		return p
	}
	k.log = p.log
	if p.streams, p.err = openStreams(k.config.OpenStdin); p.err != nil {
		return p
	}
	if k.config.Target == 0 {
		p.stage, p.err = prepareContainer(dir, p.streams)
	}
	return p
}

// begin starts the command and returns its PID.
func (p *prepared) begin(config shim.Config) (pid int, err error) {
	if p.err != nil {
		return 0, p.err
	}
	defer p.streams.closeChild()
	if p.stage == nil {
		return spawnInside(config, p.streams)
	}
	return p.stage.become()
}

// abandon gives the command up before it was started.
func (p *prepared) abandon() {
	if p.stage != nil {
		p.stage.abandon()
	}
}

func (p *prepared) close() {
	if p.log != nil {
		p.log.close()
	}
}
