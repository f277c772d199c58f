import { decodeNkey, encodeNkey } from '../nkey.ts'
import { damagedKey, type KeyPlace, kindOfNkey, kindOfSshType, notAKey, wrongKind } from './key-kinds.ts'
import { decodeKeyBody, recogniseKey } from './key-text.ts'
import { readSubjectPublicKey } from './pkcs8.ts'
import { readSshPublicKey } from './ssh-wire.ts'

/**
 * Reads a public Ed25519 key in any form that works: a public nkey `U…`, a line of OpenSSH (`ssh-ed25519 AAAA…`), PEM.
 *
 * @param where where the text came from, for messages
 * @returns the public nkey `U…`
 * @throws SubrosaError ERR_KEY_FILE (no public key, or a damaged one), ERR_KEY_INVALID (of another kind)
 */
export function readPublicKey(text: string, where: string): string {
  const place: KeyPlace = { where, half: 'public' }
  const key = recogniseKey(text)
  if (key.found === 'private key') throw notAKey(place, 'a private key')
  if (key.found === 'other') throw key.isKey ? wrongKind(place, key.what) : notAKey(place, key.what)
  switch (key.form) {
    case 'nkey':
      return readNkey(key.body, place)
    case 'openssh':
      return encodeNkey('U', readOpensshLine(key.body, place))
    case 'pem':
      return encodeNkey('U', readSubjectPublicKey(decodeKeyBody(key.body, place), place))
  }
}

function readNkey(text: string, place: KeyPlace): string {
  if (!text.startsWith('U')) throw wrongKind(place, `a public nkey ${kindOfNkey(text[0])}`)
  try {
    decodeNkey('U', text)
    return text
  } catch {
    throw damagedKey(place)
  }
}

function readOpensshLine(line: string, place: KeyPlace): Uint8Array {
  const [type, body = ''] = line.split(/\s+/)
  const key = readSshPublicKey(decodeKeyBody(body, place))
  if (key === undefined || key.type !== type) throw damagedKey(place)
  if (key.ed25519 === undefined) throw wrongKind(place, kindOfSshType(key.type))
  return key.ed25519
}
