/** Every fixed limit of the protocol, with its unit. SPEC names them by these names. */

// Sizes, in bytes.
export const MAX_MESSAGE_BYTES = 64 * 1024 * 1024
export const MAX_STATEMENT_BYTES = 64 * 1024
/** Of all revocations signed by revokers, and as many signed by authorities, while single ones are let in. */
export const MAX_REVOCATION_BYTES = 512 * 1024
export const MAX_TOKEN_BYTES = 16 * 1024
export const MAX_SUBJECT_BYTES = 1024
export const MAX_HEADER_BYTES = 32 * 1024
/** The headers of a NATS message as they travel in clear. Reading them takes a client a time that grows with their square. */
export const MAX_CLEAR_HEADER_BYTES = 1024
export const MIN_PADDED_BYTES = 128

// Counts.
export const MAX_RECIPIENTS = 16_384
export const MAX_HEADERS = 256
export const MAX_SUITES = 16
/** Revocations signed by revokers, and as many signed by authorities, while single ones are let in. */
export const MAX_REVOCATIONS = 1024
/** Revocations in force that name one identity, of one signer, while single ones are let in. */
export const MAX_REVOCATIONS_PER_IDENTITY = 16
/**
 * Revocations in one list, and in one set: what seven services let in of revokers, each other ones, and what one lets in of
 * authorities. So no honest list is ever refused.
 */
export const MAX_REVOCATIONS_HELD = 8192
export const MAX_REVOCATION_BYTES_HELD = 5 * 1024 * 1024
/** Lists of rotation services that an agent holds beside its own set: those of a plan and of the one before it. */
export const MAX_REVOCATION_LISTS = 14
/** Working time for single revocations that come to nothing: a twentieth of a core. */
export const FAILED_REVOCATION_MS_PER_SECOND = 50
/** Statements of one signer that wait for working time; and those of which is counted how often they were heard. */
export const MAX_HEARD_WAITING = 32
export const MAX_HEARD_COUNTED = 8192
/** For how long no further list of a rotation service is proved, for each millisecond that the last one took. */
export const LIST_REST_PER_MS = 4
/** How long it may take until a revocation is written down, in ms. */
export const REVOCATIONS_KEPT_MS = 1000
/** How long an agent waits at most before it says for the first time what the rotation service lacks, in ms. */
export const SHARE_REVOCATIONS_MS = 60_000
/** How often that is doubled: up to about an hour. */
export const MAX_SHARING_DOUBLINGS = 6
/** Revocations that it says in one round, at most one in each {@link SHARED_REVOCATION_MS}. */
export const MAX_SHARED_REVOCATIONS = 16
export const SHARED_REVOCATION_MS = 1000
/** Rotation services that a plan names. */
export const MAX_ROTATORS = 7
/** Nonces that one tick answers. */
export const MAX_TICK_LEAVES = 4096
/** Hashes in one query for announcements. */
export const MAX_HASHES_PER_QUERY = 64
/** Buckets in one query for what is in them. */
export const MAX_BUCKETS_PER_QUERY = 16
/** Nothing that is counted from it leaves the integers that every language reads. */
export const MAX_FIRST_EPOCH = 2 ** 48
/** Orders for fresh keys that an instance follows in one epoch: a directory holds as many announcements of it, and its first. */
export const MAX_ORDERS_PER_EPOCH = 3
/** Those of them that rotation services may give, each of them one: the rest is left for authorities. */
export const MAX_ORDERS_OF_ROTATORS_PER_EPOCH = 2
/** So that every list of revocations, and the directory of a large realm, comes within the pages of one fetch. */
export const MAX_STATEMENTS_PER_PAGE = 256
export const DEFAULT_MAX_INSTANCES = 16
export const MAX_MAX_INSTANCES = 1024

/** Frames that one signature covers: those of one session that are published in one turn of the event loop. */
export const MAX_FRAMES_PER_BATCH = 64
/** Payloads in one frame. */
export const MAX_PAYLOADS_PER_FRAME = 4096
/** Frames of one session, before another one must begin. */
export const MAX_FRAMES_PER_SESSION = 2 ** 20
/** Memory for sessions of others, counted: all of them, with their replay windows and what is left of ended ones. */
export const MAX_SESSION_BYTES = 256 * 1024 * 1024

// The clock, in milliseconds.
export const CLOCK_WINDOW_MS = 120_000
/** How far ahead a revocation may end when it is named, or let in. */
export const MAX_REVOCATION_MS = 400 * 24 * 3_600_000
export const STALE_AFTER_MS = 90_000
export const DEFAULT_TICK_MS = 15_000
/** From the beginning of one epoch to that of the next. */
export const DEFAULT_EPOCH_PERIOD_MS = 55 * 60_000
export const DEFAULT_LEAD_MS = 300_000
export const MIN_LEAD_MS = 1000
export const DEFAULT_GRACE_MS = 300_000
/** Of an epoch, its lead included. */
export const MAX_EPOCH_MS = 24 * 3_600_000
export const MAX_GRACE_MS = 15 * 60_000
/** Between a plan's making and its end. */
export const MAX_PLAN_MS = 400 * 24 * 3_600_000
/** How long after sending a message may be delivered, at most: 49 days. Other rules end sooner today. */
export const MAX_TTL_MS = 2 ** 32 - 1
export const MAX_SESSION_MS = 15 * 60_000
/** How long no frame of a session must have come before it may give way to others. */
export const SILENT_SESSION_MS = 30_000
/** How long a session is known not to be for this instance. */
export const NOT_ADDRESSED_MS = 15 * 60_000
export const QUEUE_SETTLE_MS = 1000
export const MAX_JITTER_MS = 30_000
/** Between two times that an agent asks for everything again. */
export const REFRESH_INTERVAL_MS = 1000
/** How long a subscription of the protocol that the server refuses is left alone: twice as long each time. */
export const MIN_RESUBSCRIBE_MS = 1000
export const MAX_RESUBSCRIBE_MS = 60_000
/** How long a connection that ends waits for the server before its keys are wiped. */
export const MAX_CLOSING_MS = 10_000
/** Between two orders of an authority for fresh keys in one epoch that an instance follows. */
export const MIN_ORDER_INTERVAL_MS = 60_000

// An agent that follows rotation services.
/** Between two pings of an agent whose newest one was answered: this, and up to {@link PING_SPREAD_MS} more. */
export const PING_INTERVAL_MS = 45_000
export const PING_SPREAD_MS = 15_000
/** Between two pings while the newest one is not answered: six tries before an agent is stale. */
export const PING_AGAIN_MS = 4000
export const PING_AGAIN_SPREAD_MS = 2000
/** The same of an agent that joins, with up to {@link JOIN_PING_SPREAD_MS} more. */
export const JOIN_PING_MS = 1000
export const JOIN_PING_SPREAD_MS = 255
/** Over how long agents spread their pings when all of them have a reason to ask at once. */
export const PING_TOGETHER_SPREAD_MS = 2000
/** Between two pings of which broadcasts are the reason. */
export const HINTED_PING_MS = 5000
/** Answers that come before there is a plan by which to judge them. */
export const MAX_EARLY_TICKS = 32
/** Pings whose answers may still come. */
export const MAX_PINGS_REMEMBERED = 128
/** Broadcasts of rotation services that differ from what is held and are verified. */
export const MAX_HINTED_TICKS_PER_SECOND = 4
/** Working time for statements of each kind, of which anybody can send any number: a fortieth of a core. */
export const STATEMENT_MS_PER_SECOND = 25
/** What one fetch collects. */
export const MAX_FETCHED_BYTES = 16 * 1024 * 1024
export const MAX_FETCHED_PAGES = 64
/** Pages of a whole directory, of which a service hands on {@link MAX_DIRECTORY_CACHE_BYTES}. */
export const MAX_LISTED_PAGES = 1024
/** How long a fetch may take; that of a whole directory from one page to the next. */
export const MAX_FETCH_MS = 10_000
/** How long a page may take, before it is asked for again. */
export const PAGE_TIMEOUT_MS = 2000
/**
 * How long an agent leaves a rotation service alone that did not deliver what it names, twice as long each time. With the next
 * ping it is fresh 15 s after whatever stood in the way is gone.
 */
export const MIN_FETCH_AGAIN_MS = 2000
export const MAX_FETCH_AGAIN_MS = 8000
/** How long an agent without a plan waits for a newer one than the first that came. */
export const PLAN_CHOICE_MS = 200
/** Plans among which an agent chooses that has asked all services for one. */
export const MAX_PLAN_CHOICES = 8
/** Between two times that an agent publishes its plan for those who name an older one. */
export const PLAN_REPEAT_MS = 10_000
/** How long before a plan ends agents warn, once a day. */
export const PLAN_ENDING_MS = 30 * 24 * 3_600_000
export const PLAN_ENDING_REPEAT_MS = 24 * 3_600_000
/** Between two reports of a notice that differs, of one rotation service and epoch. */
export const NOTICE_REPORT_MS = 3_600_000
/** After which times an instance asks whether its announcement is held: the last one again and again. */
export const HAND_OVER_AFTER_MS = [2000, 4000, 8000, 16_000, 30_000] as const
/** Over how long agents spread what all of them ask a rotation service that has just started. */
export const RESTARTED_SPREAD_MS = 30_000
/** Over how long agents spread what they ask when a directory has changed. */
export const RECONCILE_SPREAD_MS = 15_000
/** Between two times that an agent compares its directory with that of one rotation service. */
export const RECONCILE_INTERVAL_MS = 30_000
/** How long it compares with one of them, before it is the turn of another one. */
export const MAX_COMPARISON_MS = 30_000
/** Roots of a service's directory that an agent remembers to have been signed: those of two minutes. */
export const MAX_ROOTS_REMEMBERED = 16
/** Announcements that it asks for each time. */
export const MAX_RECONCILED = 8192
/** After how long an instance is missed in the directory of a rotation service that does not list it. */
export const OWN_LISTED_MS = 60_000
/** Announcements by hash that wait for their turn. */
export const MAX_HASHES_WANTED = 1024
/** How long one rotation service may take for the directory, before another one is asked for it too. */
export const LISTING_HEDGE_MS = 3000
/** How long an agent that joins waits for announcements that have come to be verified. */
export const MAX_CATCHING_UP_MS = 3000
/** Up to so many announcements an agent that has missed something asks for all, in place of comparing buckets. */
export const MAX_SMALL_DIRECTORY = 512

// A rotation service.
/** Signatures of ticks. */
export const MAX_TICKS_PER_SECOND = 10
/** Pings that wait for a tick, those of one inbox, and those of all instances of a name. */
export const MAX_PINGS_WAITING = 65_536
export const MAX_PINGS_PER_ASKER_PER_SECOND = 4
export const MAX_PINGS_OF_NAME_PER_SECOND = 512
/** Orders for fresh keys that a rotation service verifies. */
export const MAX_ORDERS_PER_SECOND = 16
/** Queries of all instances of a name. */
export const MAX_QUERIES_PER_ASKER_PER_SECOND = 50
/** Pages for one asker, and for one that has asked for nothing for a while. */
export const MAX_PAGE_BYTES_PER_ASKER_PER_SECOND = 2 * 1024 * 1024
export const MAX_PAGE_BYTES_AT_ONCE = 8 * 1024 * 1024
/** Pages for all askers together. */
export const MAX_PAGE_BYTES_PER_SECOND = 64 * 1024 * 1024
/** How long an announcement is held before a rotation service lists it, and between two changes of its list. */
export const LISTED_AFTER_MS = 15_000
/** How long an instance is listed after its last ping. */
export const SILENT_INSTANCE_MS = 180_000
/** Announcements that a rotation service keeps over a restart. */
export const MAX_DIRECTORY_CACHE_BYTES = 64 * 1024 * 1024
/** How long after its end a revocation leaves the record of a rotation service. */
export const FORGOTTEN_AFTER_MS = 30 * 24 * 3_600_000
/** Between two pings of rotation services because of the broadcast of one of them. */
export const PEER_PING_MS = 1000
/** Between two reports that another rotation service differs, and how long its directory has differed then. */
export const PEER_REPORT_MS = 60_000
export const PEER_DIFFERS_MS = 120_000

// Replay, lookups and floods.
export const REPLAY_WINDOW = 4096
export const MAX_WAITING_MESSAGES = 256
export const MAX_WAITING_BYTES = 1024 * 1024
/** Of all lines of messages that wait for something of one kind. */
export const MAX_WAITING_BYTES_IN_ALL = 64 * 1024 * 1024
/** What a message that waits is counted with besides its own bytes. */
export const WAITING_OVERHEAD_BYTES = 1024
/** Lines of one subscription for which nothing could be asked yet: those that have their turn within about a second. */
export const MAX_UNASKED_LINES = 32
export const LOOKUP_TIMEOUT_MS = 2000
export const MAX_LOOKUPS_PER_SECOND = 32
export const MAX_FAILED_LOOKUPS_CACHED = 4096
/** Names of which an agent remembers the owner. */
export const MAX_NAMES_REMEMBERED = 65_536
/** How long it may take until a change of owners is written down, in ms. */
export const OWNERS_KEPT_MS = 10_000
/** Former identities that are remembered for a name, and that a token names. */
export const MAX_FORMER_OWNERS = 8
/** The file with an agent's state. */
export const MAX_STATE_BYTES = 16 * 1024 * 1024
/** Of that, what the plan and all revocations may take. Owners of names have the rest. */
export const MAX_STATE_REVOCATION_BYTES = 8 * 1024 * 1024
/** How long after one that failed the state is written again, in ms. */
export const WRITE_AGAIN_MS = 60_000
export const FAILED_LOOKUP_TTL_MS = 10_000
export const FAILED_OPENS_PER_SECOND = 64
/** Frames of a session that its key fits and its sender has not signed, before its sender is told to leave it. */
export const MAX_FORGERIES = 8
/** How long after one of the first of them the frames of its session need budget. */
export const SUSPECT_SESSION_MS = 10_000
/** Working time for openings that come to nothing: a tenth of a core. */
export const FAILED_OPENING_MS_PER_SECOND = 100
export const MAX_PENDING_MESSAGES = 64
export const MAX_PENDING_BYTES = 262_144
export const MAX_PENDING_MS = 2000
/** Hashing more than this to name a handshake takes budget. */
export const MAX_FREE_HASH_BYTES = 4096
/** Sessions of one identity in which nothing was said yet: opening further ones takes budget. */
export const MAX_FREE_SILENT_SESSIONS = 64
/** Reading headers of more than this takes budget. */
export const MAX_FREE_HEADER_BYTES = 256
/** Working time that verifying announcements takes at most, as a share of a core; and until an agent has joined. */
export const DIRECTORY_SHARE = 0.25
export const DIRECTORY_JOIN_SHARE = 0.75
/** Announcements of one name that came unasked and wait to be verified. */
export const MAX_UNVERIFIED_PER_AGENT = 64
export const MAX_UNVERIFIED_BYTES_PER_AGENT = 256 * 1024
/** Of all that came unasked and wait to be verified; and of all that was asked for. */
export const MAX_UNVERIFIED_BYTES = 32 * 1024 * 1024
/** Announcements held of one agent in one epoch, for each instance that it may have. */
export const MAX_ANNOUNCEMENTS_PER_INSTANCE = 4
/** Requests for lost handshakes that an instance makes, and as many that are made a second time. */
export const MAX_SESSION_REQUESTS_PER_SECOND = 32
/** Refusals of sessions that an instance publishes. */
export const MAX_REFUSALS_PER_SECOND = 32
/** Sessions that are known not to be for this instance, and those that were refused for want of room. */
export const MAX_SIDS_REMEMBERED = 4096
/** Between two answers to requests for one handshake. */
export const HANDSHAKE_REPEAT_MS = 500
/** Handshakes of all sessions that an instance repeats when it is asked. */
export const MAX_HANDSHAKE_ANSWER_BYTES_PER_SECOND = 1024 * 1024
/** New instances of one agent that are taken into audiences at once, for each instance that it may have. */
export const MAX_NEWCOMERS_PER_INSTANCE = 4
/** In which time as many more are as it may have instances. */
export const NEWCOMER_REFILL_MS = 300_000
/** How often the newest instance of an agent takes the place of those that have gone, without being counted. */
export const NEWCOMER_SUCCESSION_MS = 30_000
/** Instances of which it is known that they were taken in. */
export const MAX_NEWCOMERS_REMEMBERED = 65_536
/** How long an audience gets messages after a recipient has refused a session. */
export const REFUSED_SESSION_MS = 60_000
/** Up to so many recipients each get the handshake in their own inbox. To more it goes on the subjects of the session. */
export const MAX_HANDSHAKE_INBOXES = 32
/** Subjects of one session on which its handshake is published before the first frame there. */
export const MAX_HANDSHAKE_SUBJECTS = 64
export const MAX_HINTS_PER_SECOND = 64

// MCP.
/** The longest message that either side may take. */
export const MAX_MCP_MESSAGE_BYTES = 256 * 1024 * 1024
export const DEFAULT_MCP_MESSAGE_BYTES = 10 * 1024 * 1024
/** What one side of a session may send before the other has taken it: frames with content. */
export const MCP_WINDOW_BYTES = 1024 * 1024
/** What waits at the sender for the other side to read, before the session ends: one message may be longer. */
export const MAX_MCP_WAITING_BYTES = 64 * 1024 * 1024
export const MAX_MCP_WAITING_MESSAGES = 65_536
/** Of a message in one frame. It is halved where the server takes less. */
export const MCP_CHUNK_BYTES = 64 * 1024
export const MIN_MCP_CHUNK_BYTES = 256
export const MAX_MCP_REASON_BYTES = 512
export const MAX_MCP_TIME_MS = 30 * 24 * 3_600_000
export const DEFAULT_MCP_HEARTBEAT_MS = 10_000
/** Heartbeats that may be missing before a session ends. */
export const MCP_HEARTBEATS_MISSED = 3
export const DEFAULT_MCP_LEASE_MS = 24 * 3_600_000
export const DEFAULT_MCP_SESSIONS = 64
/** Sessions of one agent with one instance of a server. */
export const MAX_MCP_SESSIONS_PER_AGENT = 32
/** Sessions over one Streamable HTTP endpoint: half of what its agent may have. */
export const MAX_MCP_HTTP_SESSIONS = 16
/** Frames of unknown sessions that are answered. */
export const MAX_MCP_STRAYS_PER_SECOND = 16
/** How long messages that came before the end of a session may take to be handed on. */
export const MCP_DRAIN_MS = 5000
export const DEFAULT_MCP_OPEN_MS = 10_000
/** How long what a host asks waits for a session that is being opened anew. */
export const MCP_REOPEN_WAIT_MS = 30_000
export const MIN_MCP_REOPEN_MS = 250
export const MAX_MCP_REOPEN_MS = 10_000
/** A session that stood so long was no failure to begin with. */
export const MCP_STEADY_MS = 10_000
/** How long a server may take for the `initialize` that is told again. */
export const MCP_INITIALIZE_MS = 30_000
/** Requests of a server that wait for the answer of a host, and those taken back of which an answer may still come. */
export const MAX_MCP_UNANSWERED = 1024
/** Of the id of such a request, as JSON. */
export const MAX_MCP_ID_LENGTH = 1024
