import { jetstream } from '@nats-io/jetstream'
import {
  type Match as CurrentMatch,
  type Msg as CurrentMsg,
  type MsgHdrs as CurrentMsgHdrs,
  type RequestStrategy as CurrentStrategy,
  headers as currentHeaders,
  type wsconnect,
} from '@nats-io/nats-core'
import type { connect as connectCurrent } from '@nats-io/transport-node'
import {
  type connect as connectEarlier,
  type Match as EarlierMatch,
  type Msg as EarlierMsg,
  type MsgHdrs as EarlierMsgHdrs,
  type RequestStrategy as EarlierStrategy,
  headers as earlierHeaders,
} from 'nats'
import { describe, expect, expectTypeOf, it } from 'vitest'
import type { PublishOptions, RequestManyOptions, RequestOptions } from '../../src/bus/connection.ts'
import { MessageHeaders } from '../../src/bus/messages/headers.ts'
import type { MessageLike, RespondOptions, SecureMessage } from '../../src/bus/messages/message.ts'
import type { NatsLike } from '../../src/bus/nats-like.ts'
import { secure } from '../../src/bus/secure.ts'

type Resolved<Connect extends (...args: never[]) => Promise<unknown>> = Awaited<ReturnType<Connect>>

/** What is wrong here does not compile; what runs is the little that shows the lines alive. */
describe('by its type, a sealed connection', () => {
  it('is made of a connection of either line, over TCP or WebSocket', () => {
    expectTypeOf<Resolved<typeof connectCurrent>>().toExtend<NatsLike>()
    expectTypeOf<Resolved<typeof connectEarlier>>().toExtend<NatsLike>()
    expectTypeOf<Resolved<typeof wsconnect>>().toExtend<NatsLike>()
    expectTypeOf(secure).parameter(0).toEqualTypeOf<NatsLike>()
  })

  it('is made of nothing else', () => {
    const options = {} as Parameters<typeof secure>[1]
    const never = (): unknown[] => [
      // @ts-expect-error: an address is no connection
      secure('nats://127.0.0.1:4222', options),
      // @ts-expect-error: neither is the promise of one
      secure({} as ReturnType<typeof connectCurrent>, options),
      // @ts-expect-error: nor the promise of the earlier line
      secure({} as ReturnType<typeof connectEarlier>, options),
      // @ts-expect-error: nor a JetStream client
      secure(jetstream({} as Resolved<typeof connectCurrent>), options),
      // @ts-expect-error: nor a JetStream client of the earlier line
      secure(({} as Resolved<typeof connectEarlier>).jetstream(), options),
      // @ts-expect-error: nor half a connection
      secure({} as Pick<Resolved<typeof connectCurrent>, 'publish' | 'subscribe'>, options),
      // @ts-expect-error: nor a connection without a method
      secure({} as Omit<Resolved<typeof connectCurrent>, 'status'>, options),
      // @ts-expect-error: nor nothing
      secure(undefined, options),
    ]
    expect(never).toBeTypeOf('function')
  })

  it('gives messages that are messages of either line, and headers that are headers of either line', () => {
    expectTypeOf<SecureMessage>().toExtend<CurrentMsg>()
    expectTypeOf<SecureMessage>().toExtend<EarlierMsg>()
    expectTypeOf<MessageHeaders>().toExtend<CurrentMsgHdrs>()
    expectTypeOf<MessageHeaders>().toExtend<EarlierMsgHdrs>()
    expectTypeOf<SecureMessage['headers']>().toExtend<CurrentMsg['headers']>()
    expectTypeOf<SecureMessage['headers']>().toExtend<EarlierMsg['headers']>()
    expectTypeOf<CurrentMatch>().toExtend<NonNullable<Parameters<MessageHeaders['get']>[1]>>()
    expectTypeOf<EarlierMatch>().toExtend<NonNullable<Parameters<MessageHeaders['get']>[1]>>()
    const one = (message: CurrentMsg & EarlierMsg): string => message.string()
    expectTypeOf(one).toBeCallableWith({} as SecureMessage)
  })

  it('takes the headers and the messages of either line', () => {
    for (const headers of [currentHeaders(), earlierHeaders(), new MessageHeaders()]) {
      expect([...headers]).toEqual([])
    }
    expectTypeOf<{ headers: CurrentMsgHdrs }>().toExtend<PublishOptions & RequestOptions & RespondOptions>()
    expectTypeOf<{ headers: EarlierMsgHdrs }>().toExtend<PublishOptions & RequestOptions & RespondOptions>()
    expectTypeOf<{ headers: CurrentMsgHdrs; reply: string }>().toExtend<RespondOptions>()
    expectTypeOf<CurrentMsg>().toExtend<MessageLike>()
    expectTypeOf<EarlierMsg>().toExtend<MessageLike>()
    expectTypeOf<SecureMessage>().toExtend<MessageLike>()
    expectTypeOf<string>().not.toExtend<PublishOptions['headers']>()
    expectTypeOf<Record<string, string>>().not.toExtend<PublishOptions['headers']>()
    expectTypeOf<Map<string, string>>().not.toExtend<PublishOptions['headers']>()
  })

  it('knows the strategies of either line, and no other', () => {
    type Strategy = NonNullable<RequestManyOptions['strategy']>
    expectTypeOf<CurrentStrategy>().toExtend<Strategy>()
    expectTypeOf<`${EarlierStrategy}`>().toExtend<Strategy>()
    expectTypeOf<EarlierStrategy>().toExtend<Strategy>()
    expectTypeOf<Strategy>().toExtend<CurrentStrategy | `${EarlierStrategy}`>()
    expectTypeOf<'first'>().not.toExtend<Strategy>()
  })
})
