/** Sealing a message and opening it. */
export interface MessageWork {
  readonly seal: () => Uint8Array
  readonly open: (sealed: Uint8Array) => Uint8Array
}

/** Sealing a batch of frames and opening them; what is opened last comes back. */
export interface FrameWork {
  readonly seal: () => readonly Uint8Array[]
  readonly open: (frames: readonly Uint8Array[]) => Uint8Array | undefined
}

/**
 * A message must open as it was sealed, and must not open with one of its bytes changed.
 *
 * @param step 1 tries every byte, 2 every other
 * @throws Error where that is not so
 */
export function proveMessage({ seal, open }: MessageWork, payload: Uint8Array, step = 1): void {
  const sealed = seal()
  if (Buffer.compare(open(sealed), payload) !== 0) throw new Error('what was opened is not what was sealed')
  for (let at = 0; at < sealed.length; at += step)
    if (opens(() => open(sealed.with(at, (sealed[at] ?? 0) ^ 1))))
      throw new Error(`a message with byte ${at} changed was opened`)
}

/**
 * Frames must open as they were sealed, and a changed one must not.
 *
 * @throws Error where that is not so
 */
export function proveFrames({ seal, open }: FrameWork, payload: Uint8Array): void {
  const opened = open(seal())
  if (opened === undefined || Buffer.compare(opened, payload) !== 0)
    throw new Error('the frame that was opened is not what was sealed')
  const [frame] = seal()
  if (frame === undefined) throw new Error('nothing was sealed')
  const last = frame.length - 1
  if (opens(() => open([frame.with(last, (frame[last] ?? 0) ^ 1)])))
    throw new Error('a changed frame was opened')
}

function opens(open: () => unknown): boolean {
  try {
    open()
    return true
  } catch {
    return false
  }
}
