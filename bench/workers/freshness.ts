import { type HourPlan, measureHour } from '../lib/freshness/hour.ts'
import { serve } from './serve.mjs'

serve({ measure: (plan: HourPlan) => measureHour(plan) })
