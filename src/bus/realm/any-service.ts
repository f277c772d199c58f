/**
 * In a query's subject, in place of the name of one rotation service: each of them answers there for its plan, and for nothing
 * else. Whoever has no plan knows none of their names.
 */
export const ANY_SERVICE = 'any'
