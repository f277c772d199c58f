import { utf8 } from '../base/bytes.ts'

/**
 * Every domain-separation label of the protocol: ASCII `subrosa/1 NAME` and a NUL. The inputs of the key
 * derivation end in 0x01 instead, which makes each the single block of an HKDF-Expand (RFC 5869).
 */
export const labels = {
  kid: label('kid'),
  wrap: label('wrap'),
  header: label('hdr'),
  message: label('sig'),
  plan: label('pln'),
  epoch: label('epo'),
  notice: label('ntc'),
  tick: label('tic'),
  ping: label('png'),
  revocation: label('rev'),
  announcement: label('ann'),
  possession: label('pop'),
  order: label('rot'),
  session: label('sid'),
  leaf: label('leaf'),
  batch: label('bat'),
  refusal: label('ref'),
  contentKey: utf8('subrosa/1 key\x01'),
  commitment: utf8('subrosa/1 com\x01'),
  sessionKey: utf8('subrosa/1 ses\x01'),
} as const

function label(name: string): Uint8Array {
  return utf8(`subrosa/1 ${name}\0`)
}
