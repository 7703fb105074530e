package project

// Interrupt lets f be called before each change of a swap, an undo or a drop. An
// error ends it there, as a crash would.
func (t *Target) Interrupt(f func(what string) error) { t.step = f }
